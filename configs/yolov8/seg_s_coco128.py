"""YOLOv8s instance segmentation on COCO128, the first 128 images of COCO train2017; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/seg_s_coco128.py --cfg-options data_root=/data/coco128
"""

_base_ = './seg_n_coco128.py'

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5, max_channels=1024),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.33)],
)
