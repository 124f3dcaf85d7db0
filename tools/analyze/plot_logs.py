"""Plot the curves of several training runs: losses, average precisions, learning rate.

    python tools/analyze/plot_logs.py work_dirs/det_n_coco8 work_dirs/det_n_coco8-2
    python tools/analyze/plot_logs.py work_dirs/* --keys 'coco/bbox_mAP*' train/box --smooth 0.8 --x time --out a.svg

A star marks the best value of each metric.
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze plot-logs', prog='python tools/analyze/plot_logs.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
