"""YOLOv3-SPP on COCO8, eight images for trying things out; no published figure.

Described at https://arxiv.org/abs/1903.08589. Train with
    python tools/train.py configs/yolov3/det_spp_coco8.py
Its 63 million parameters ask for a GPU at 640 pixels. On a CPU train at 256, which takes 17 minutes on one core and
learns the drawn set's training images to a box mAP50 of 0.98 (its validation images to 0.59):
    python tools/train.py configs/yolov3/det_spp_coco8.py --cfg-options img_size=256
"""

_base_ = [
    '../_base_/models/yolov3_spp.py',
    '../_base_/datasets/coco8_det.py',
    '../_base_/schedules/yolov3_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'det'
