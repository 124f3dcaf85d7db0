"""Plot precision against recall, and precision, recall and F1 against the score threshold.

python tools/analyze/pr_curves.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth --out curves
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze pr-curves', prog='python tools/analyze/pr_curves.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
