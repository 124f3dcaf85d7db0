"""YOLOv8m with rotated boxes on DOTA version 1. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on the test set: 80.5 mAP50 (published there, tested at several scales). Train, see obb_n_dota.py, with
    python tools/train.py configs/yolov8/obb_m_dota.py --cfg-options data_root=/data/dota
"""

_base_ = './obb_n_dota.py'

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75, max_channels=768),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.67)],
)
