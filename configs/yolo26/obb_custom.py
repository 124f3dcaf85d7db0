"""YOLO26 with rotated boxes on your own dataset with a data.yaml (https://docs.ultralytics.com/models/yolo26).

There is no published result. Train with
    python tools/train.py configs/yolo26/obb_custom.py --cfg-options size=n data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolo26_obb.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolo26_500e.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
max_epochs = 100
