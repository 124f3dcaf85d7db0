"""Report statistics of a config's data, near-duplicate images and labels that are likely wrong.

python tools/analyze/dataset_stats.py configs/yolov8/seg_n_coco8.py
python tools/analyze/dataset_stats.py configs/yolov8/det_coco.py --out data.html --csv issues.csv
python tools/analyze/dataset_stats.py configs/yolov8/det_coco.py --split val --checkpoint best.pth --out data.html
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze dataset-stats', prog='python tools/analyze/dataset_stats.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
