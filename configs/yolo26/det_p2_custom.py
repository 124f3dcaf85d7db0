"""YOLO26 detection with a level of stride 4 on your own dataset (https://docs.ultralytics.com/models/yolo26).

There is no published result. Train with
    python tools/train.py configs/yolo26/det_p2_custom.py --cfg-options size=n data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolo26_det_p2.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolo26_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 100
