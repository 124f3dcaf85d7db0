"""Count the errors of a model by type, and the average precision lost to each type (TIDE).

python tools/analyze/error_analysis.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth --out errors
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze error-analysis', prog='python tools/analyze/error_analysis.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
