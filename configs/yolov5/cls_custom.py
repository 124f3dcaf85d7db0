"""YOLOv5's backbone as a classifier of your own image folder, with the modern recipe of docs/weather.md.

There is no published result; the backbone is described at https://docs.ultralytics.com/models/yolov5. Train with
    python tools/train.py configs/yolov5/cls_custom.py --cfg-options data_root=path/to/folder
"""

_base_ = [
    '../_base_/models/yolov5_cls.py',
    '../_base_/datasets/image_folder.py',
    '../_base_/schedules/adamw_60e.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
