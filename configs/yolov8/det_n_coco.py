"""YOLOv8n detection on COCO. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 37.3 box mAP (published there). Train with
    python tools/train.py configs/yolov8/det_n_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_det.py',
    '../_base_/datasets/coco_det.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]

task = 'det'
