"""Find anchors that fit the training data of a config, and compare their fit with that of the config's anchors.

python tools/analyze/optimize_anchors.py configs/yolov5/det_n_coco8.py
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze optimize-anchors', prog='python tools/analyze/optimize_anchors.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
