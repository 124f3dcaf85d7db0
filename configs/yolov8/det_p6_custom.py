"""YOLOv8 detection with a level of stride 64 on your own dataset (https://docs.ultralytics.com/models/yolov8).

There is no published result. Train with
    python tools/train.py configs/yolov8/det_p6_custom.py --cfg-options size=n data_yaml=path/to/data.yaml img_size=1280
"""

_base_ = [
    '../_base_/models/yolov8_det_p6.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
size_divisor = 64
max_epochs = 100
