"""YOLO26 instance segmentation on COCO8, eight images to try things out (https://docs.ultralytics.com/models/yolo26).

There is no published result; from scratch, the mAP50 of the drawn set's val ends at 0.54 to 0.61 for boxes and 0.55 to
0.60 for masks, in 4 minutes of one core. Train with
    python tools/train.py configs/yolo26/seg_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolo26_seg.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolo26_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
img_size = 256
