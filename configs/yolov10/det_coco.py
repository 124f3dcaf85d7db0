"""YOLOv10 detection on COCO (https://arxiv.org/abs/2405.14458).

Expected box mAP on val2017 (published there): n 38.5, s 46.3, m 51.1, b 52.5, l 53.2, x 54.4. Train with
    python tools/train.py configs/yolov10/det_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov10_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
