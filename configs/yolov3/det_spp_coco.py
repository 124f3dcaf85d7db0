"""YOLOv3-SPP on COCO (https://arxiv.org/abs/1903.08589).

Expected on val2017 at 608 pixels: 37.0 box mAP with Darknet's weights, 42.1 retrained
(https://github.com/ultralytics/yolov3). Train with
    python tools/train.py configs/yolov3/det_spp_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov3_spp.py',
    '../_base_/datasets/coco_det.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]

task = 'det'
