"""Draw a config's data: images with their annotations, before and after the pipeline, mosaic included.

    python tools/analyze/browse_dataset.py configs/yolov8/seg_n_coco8.py
    python tools/analyze/browse_dataset.py configs/yolov8/det_coco.py --class 'fire hydrant' --number 24
    python tools/analyze/browse_dataset.py configs/yolov8/seg_n_coco8.py --indices 0 3 --epochs 1 2 100

The sheets show exactly what a training run with the same seed uses in that epoch.
"""

import sys

from detkit.cli.main import find_command

command = find_command('analyze browse-dataset', prog='python tools/analyze/browse_dataset.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
