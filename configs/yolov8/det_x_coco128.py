"""YOLOv8x detection on COCO128, the first 128 images of COCO train2017; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/det_x_coco128.py --cfg-options data_root=/data/coco128
"""

_base_ = './det_n_coco128.py'

model = dict(
    backbone=dict(deepen_factor=1.0, widen_factor=1.25, max_channels=512),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=1.0)],
)
