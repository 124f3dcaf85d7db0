"""Weather by YOLOv5's backbone and two linear layers, with augmentation, label smoothing, AdamW, cosine decay and EMA.

It differs from cls_weather.py in the recipe (compare https://arxiv.org/abs/2110.00476); there is no published result.
Train with
    python tools/train.py configs/yolov5/cls_weather_modern.py
"""

_base_ = [
    '../_base_/models/yolov5_cls.py',
    '../_base_/datasets/weather.py',
    '../_base_/schedules/adamw_60e.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
model = dict(head=dict(dropout=0.2, loss_cls=dict(label_smoothing=0.1)))
