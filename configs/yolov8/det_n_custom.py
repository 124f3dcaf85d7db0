"""YOLOv8n detection on a dataset of your own that a data.yaml describes; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/det_n_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolov8_det.py',
    '../_base_/datasets/data_yaml_det.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]

task = 'det'

max_epochs = 100
train_cfg = dict(max_epochs=max_epochs)
