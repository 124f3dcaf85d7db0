"""YOLO26 with rotated boxes on DOTA 1.0 (https://docs.ultralytics.com/models/yolo26).

Expected mAP50 on test, multi-scale, end to end (published there): n 78.9, s 80.9, m 81.0, l 81.6, x 81.7.
Cut DOTA into tiles (docs/rotated_boxes.md), then train with
    python tools/train.py configs/yolo26/obb_dota.py --cfg-options size=n data_root=/data/dota
"""

_base_ = [
    '../_base_/models/yolo26_obb.py',
    '../_base_/datasets/dota.py',
    '../_base_/schedules/yolo26_musgd_500e.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
max_epochs = 100
