"""YOLOv8x instance segmentation on COCO. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 53.4 box mAP and 43.4 mask mAP (published there). Train with
    python tools/train.py configs/yolov8/seg_x_coco.py --cfg-options data_root=/data/coco
"""

_base_ = './seg_n_coco.py'

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.25, max_channels=512),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=1.0)],
)
