"""YOLO-World detection on your own dataset with a data.yaml (https://arxiv.org/abs/2401.17270).

There is no published result. Train with
    python tools/train.py configs/yolo_world/det_custom.py --cfg-options size=s data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolo_world_det.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 80
text_encoder = dict(type='CLIPTextEncoder')
