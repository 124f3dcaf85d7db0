"""Weather by YOLOv5's backbone, global average pooling (https://arxiv.org/abs/1312.4400) and one linear layer.

It differs from cls_weather.py in the head; there is no published result. Train with
    python tools/train.py configs/yolov5/cls_weather_gap.py
"""

_base_ = './cls_weather.py'

model = dict(head=dict(pool_size=1, hidden_channels=()))
