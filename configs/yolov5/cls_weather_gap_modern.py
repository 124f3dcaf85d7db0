"""Weather by YOLOv5's backbone, global average pooling and one linear layer, with the modern recipe.

The head of cls_weather_gap.py and the recipe of cls_weather_modern.py (compare https://arxiv.org/abs/2110.00476);
there is no published result. Train with
    python tools/train.py configs/yolov5/cls_weather_gap_modern.py
"""

_base_ = './cls_weather_modern.py'

model = dict(head=dict(pool_size=1, hidden_channels=()))
