"""Run a training in small, to find within a minute what would stop or spoil the real one after hours.

python tools/analyze/check.py configs/yolov8/seg_n_coco8.py
python tools/analyze/check.py configs/yolov8/seg_coco.py --cfg-options data_root=/data/coco batch_size=32
"""

import sys

from detkit.cli.main import find_command

command = find_command('check', prog='python tools/analyze/check.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
