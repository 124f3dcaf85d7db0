"""YOLOv10 detection on your own dataset with a data.yaml (https://arxiv.org/abs/2405.14458).

There is no published result. Train with
    python tools/train.py configs/yolov10/det_custom.py --cfg-options size=n data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolov10_det.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 100
