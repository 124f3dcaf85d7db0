"""Weather by YOLOv5's backbone, global average pooling and one linear layer, with the modern recipe.

cls_weather_gap.py's head, cls_weather_modern.py's recipe (compare https://arxiv.org/abs/2110.00476); no published figure.
Train with
    python tools/train.py configs/yolov5/cls_weather_gap_modern.py
"""

_base_ = './cls_weather_modern.py'

model = dict(head=dict(pool_size=1, hidden_channels=()))
