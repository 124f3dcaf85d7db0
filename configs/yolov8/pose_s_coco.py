"""YOLOv8s pose on COCO keypoints. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 60.0 keypoint mAP (published there). Train with
    python tools/train.py configs/yolov8/pose_s_coco.py --cfg-options data_root=/data/coco
"""

_base_ = './pose_n_coco.py'

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5, max_channels=1024),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.33)],
)
