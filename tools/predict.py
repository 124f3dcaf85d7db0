"""Detect objects in images and videos, or classify images, with a trained model.

python tools/predict.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth photo.jpg
python tools/predict.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth photos --save-txt --save-csv
python tools/predict.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth aerial.png --tile 640
python tools/predict.py - work_dirs/seg_n_coco8/best.pth clip.mp4 --frame-stride 2
python tools/predict.py - work_dirs/seg_n_coco8/best.onnx photos
"""

import sys

from detkit.cli.main import find_command

command = find_command('predict', prog='python tools/predict.py')
parse_args, main = command.parse_args, command.main

if __name__ == '__main__':
    sys.exit(command.exit_status())
