"""YOLOv8l instance segmentation on COCO128, the first 128 images of COCO train2017; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/seg_l_coco128.py --cfg-options data_root=/data/coco128
"""

_base_ = './seg_n_coco128.py'

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.0, max_channels=512),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=1.0)],
)
