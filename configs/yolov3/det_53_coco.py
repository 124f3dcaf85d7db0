"""YOLOv3 on COCO (https://arxiv.org/abs/1804.02767).

Expected at 608 pixels: 33.0 box mAP on test-dev (in the paper). Train with
    python tools/train.py configs/yolov3/det_53_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov3.py',
    '../_base_/datasets/coco_det.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]

task = 'det'
