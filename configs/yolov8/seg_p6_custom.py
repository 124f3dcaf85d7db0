"""YOLOv8 instance segmentation with a level of stride 64 on your own dataset with a data.yaml.

There is no published result (https://docs.ultralytics.com/models/yolov8). Train with
    python tools/train.py configs/yolov8/seg_p6_custom.py --cfg-options size=n data_yaml=path/to/data.yaml img_size=1280
"""

_base_ = [
    '../_base_/models/yolov8_seg_p6.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
size_divisor = 64
max_epochs = 100
