"""YOLOv5n detection on COCO. No paper; described at https://docs.ultralytics.com/models/yolov5.

Expected on val2017: 28.0 box mAP (published there). Train with
    python tools/train.py configs/yolov5/det_n_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov5_det.py',
    '../_base_/datasets/coco_det.py',
    '../_base_/schedules/yolov5.py',
    '../_base_/default_runtime.py',
]

task = 'det'
