"""YOLOv8 detection (https://docs.ultralytics.com/models/yolov8) on COCO and PASCAL VOC together.

It is an example of several datasets, see docs/several_datasets.md. There is no published result. Train with
    python tools/train.py configs/yolov8/det_voc_coco.py --cfg-options size=n
"""

_base_ = [
    '../_base_/models/yolov8_det.py',
    '../_base_/datasets/voc_coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
