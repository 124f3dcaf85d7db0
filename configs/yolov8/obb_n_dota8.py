"""YOLOv8n with rotated boxes on DOTA8, a few images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/obb_n_dota8.py

From scratch on the drawn set (32 images, 8 to validate on): mAP50 about 0.91. The real DOTA8 has other classes in val
than in train; its own training images are learnt by heart with this same schedule, mAP50 0.99:
    python tools/test.py configs/yolov8/obb_n_dota8.py work_dirs/obb_n_dota8/last.pth --split train
"""

_base_ = [
    '../_base_/models/yolov8_obb.py',
    '../_base_/datasets/dota8_obb.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'obb'
