"""YOLOv8l instance segmentation on COCO. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 52.3 box mAP and 42.6 mask mAP (published there). Train with
    python tools/train.py configs/yolov8/seg_l_coco.py --cfg-options data_root=/data/coco
"""

_base_ = './seg_n_coco.py'

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.0, max_channels=512),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=1.0)],
)
