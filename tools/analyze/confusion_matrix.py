"""Draw the confusion matrix of a model, with background as a class of its own.

python tools/analyze/confusion_matrix.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze confusion-matrix', prog='python tools/analyze/confusion_matrix.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
