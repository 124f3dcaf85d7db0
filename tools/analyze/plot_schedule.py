"""Plot the learning rate, the momentum and the accumulation of a whole run, without training.

python tools/analyze/plot_schedule.py configs/yolov8/det_n_coco8.py
python tools/analyze/plot_schedule.py configs/yolov8/det_coco.py --num-images 118287 --processes 8
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze plot-schedule', prog='python tools/analyze/plot_schedule.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
