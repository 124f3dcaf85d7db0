"""YOLOv8m pose on COCO keypoints. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 65.0 keypoint mAP (published there). Train with
    python tools/train.py configs/yolov8/pose_m_coco.py --cfg-options data_root=/data/coco
"""

_base_ = './pose_n_coco.py'

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75, max_channels=768),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.67)],
)
