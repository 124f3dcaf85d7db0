"""YOLOv8 with rotated boxes on DOTA 1.0 (https://docs.ultralytics.com/models/yolov8).

Expected mAP50 on test, multi-scale (published there): n 78.0, s 79.5, m 80.5, l 80.7, x 81.36.
Cut DOTA into tiles (docs/rotated_boxes.md), then train with
    python tools/train.py configs/yolov8/obb_dota.py --cfg-options size=n data_root=/data/dota
"""

_base_ = [
    '../_base_/models/yolov8_obb.py',
    '../_base_/datasets/dota.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
max_epochs = 100
