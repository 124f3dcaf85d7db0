"""YOLOv3-SPP on PASCAL VOC (https://arxiv.org/abs/1903.08589).

There is no published figure of this recipe. Train with
    python tools/train.py configs/yolov3/det_spp_voc.py --cfg-options data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/yolov3_spp.py',
    '../_base_/datasets/voc_det.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]

task = 'det'
