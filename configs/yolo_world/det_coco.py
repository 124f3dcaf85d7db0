"""YOLO-World detection on COCO, whose class names are the texts (https://arxiv.org/abs/2401.17270).

Expected box mAP on val2017 of the authors' weights, not trained on COCO: s 36.6, m 43.0, l 44.9, x 46.7. Train with
    python tools/train.py configs/yolo_world/det_coco.py --cfg-options size=s data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo_world_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 80
text_encoder = dict(type='CLIPTextEncoder')
