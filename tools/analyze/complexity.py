"""List parameters, multiply-adds, memory and time of each module of a network.

python tools/analyze/complexity.py configs/yolov8/seg_coco.py
python tools/analyze/complexity.py configs/yolov8/seg_coco.py --under head --depth 1
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze complexity', prog='python tools/analyze/complexity.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
