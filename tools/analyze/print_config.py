"""Print a config after inheritance and options with the file and line of each value, or how two configs differ.

python tools/analyze/print_config.py configs/yolov8/seg_n_coco8.py --cfg-options data_root=/data/coco8-seg
python tools/analyze/print_config.py --diff configs/yolov8/det_n_coco8.py configs/yolov8/seg_n_coco8.py
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze print-config', prog='python tools/analyze/print_config.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
