"""YOLO26 classification of your own image folder (https://docs.ultralytics.com/models/yolo26).

There is no published result. Train with
    python tools/train.py configs/yolo26/cls_custom.py --cfg-options size=n data_root=path/to/folder
"""

_base_ = [
    '../_base_/models/yolo26_cls.py',
    '../_base_/datasets/image_folder.py',
    '../_base_/schedules/yolo26_cls.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
