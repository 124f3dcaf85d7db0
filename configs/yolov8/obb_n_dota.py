"""YOLOv8n with rotated boxes on DOTA version 1. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on the test set: 78.0 mAP50 (published there, tested at several scales). Cut DOTA into tiles with
tools/tile_dota.py, see configs/_base_/datasets/dota_obb.py, then train with
    python tools/train.py configs/yolov8/obb_n_dota.py --cfg-options data_root=/data/dota
"""

_base_ = [
    '../_base_/models/yolov8_obb.py',
    '../_base_/datasets/dota_obb.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]

task = 'obb'

max_epochs = 100
train_cfg = dict(max_epochs=max_epochs)
