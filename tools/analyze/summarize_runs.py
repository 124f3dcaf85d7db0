"""Compare training runs in one table: parameters, epochs, time, best and last metrics, gain over the first run.

python tools/analyze/summarize_runs.py work_dirs/cls_weather*
python tools/analyze/summarize_runs.py work_dirs --metrics coco/bbox_mAP50 train/box --markdown
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze summarize-runs', prog='python tools/analyze/summarize_runs.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
