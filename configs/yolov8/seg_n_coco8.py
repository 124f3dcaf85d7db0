"""YOLOv8 instance segmentation on COCO8, eight images to try things out (https://docs.ultralytics.com/models/yolov8).

There is no published result; from scratch, the box and mask mAP50 of the drawn set's val end at about 0.83. The real
set's val stays at 0, as it shows other classes; its training images (test.py --split train) end at box mAP 0.84:
    python tools/train.py configs/yolov8/seg_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolov8_seg.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
