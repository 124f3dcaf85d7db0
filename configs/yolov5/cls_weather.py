"""Four kinds of weather by YOLOv5's backbone and two linear layers, with the plain recipe of docs/weather.md.

Expected: 90.7 % of 225 test photographs after 60 epochs (published for this recipe). The backbone is described at
https://docs.ultralytics.com/yolov5/tutorials/architecture_description. Train with
    python tools/train.py configs/yolov5/cls_weather.py
"""

_base_ = [
    '../_base_/models/yolov5_cls.py',
    '../_base_/datasets/weather_plain.py',
    '../_base_/schedules/adam_60e.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
