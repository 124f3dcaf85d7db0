"""YOLOv8n instance segmentation on COCO8, eight images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/seg_n_coco8.py

From scratch, 800 iterations of batch 4: on the drawn set box and mask mAP50 of val end at about 0.83. The real COCO8
has other classes in val than in train, so val says little there; its own training images are learnt by heart, with
this same schedule to a box mAP50 of 0.98 (mask 0.96):
    python tools/test.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/last.pth --split train
"""

_base_ = [
    '../_base_/models/yolov8_seg.py',
    '../_base_/datasets/coco8_seg.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'seg'
