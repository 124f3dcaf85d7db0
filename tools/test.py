"""Evaluate a trained model: average precision of boxes and masks or accuracy, over all and class by class.

python tools/test.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth
python tools/test.py work_dirs/seg_n_coco8/config.py work_dirs/seg_n_coco8/best.pth
python tools/test.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth --split train --show-dir pictures
python tools/test.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.onnx
python tools/test.py configs/yolov8/obb_dota.py work_dirs/obb_dota/best.pth --tile 1024 --tta plain hflip vflip
"""

import sys

from detkit.cli.main import find_command

command = find_command('test', prog='python tools/test.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
