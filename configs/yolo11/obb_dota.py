"""YOLO11 with rotated boxes on DOTA 1.0 (https://docs.ultralytics.com/models/yolo11).

Expected mAP50 on test, multi-scale (published there): n 78.4, s 79.5, m 80.9, l 81.0, x 81.3.
Cut DOTA into tiles (docs/rotated_boxes.md), then train with
    python tools/train.py configs/yolo11/obb_dota.py --cfg-options size=n data_root=/data/dota
"""

_base_ = [
    '../_base_/models/yolo11_obb.py',
    '../_base_/datasets/dota.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
max_epochs = 100
