"""YOLOv3-tiny on a dataset of your own that a data.yaml describes; no published figure.

Described at https://pjreddie.com/darknet/yolo. Train with
    python tools/train.py configs/yolov3/det_tiny_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolov3_tiny.py',
    '../_base_/datasets/data_yaml_det.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]

task = 'det'
