"""YOLOv3-SPP, or another size of YOLOv3, on PASCAL VOC (https://arxiv.org/abs/1804.02767).

There is no published result of this recipe. Train with
    python tools/train.py configs/yolov3/det_voc.py --cfg-options size=spp data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/yolov3.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]
task = 'det'
