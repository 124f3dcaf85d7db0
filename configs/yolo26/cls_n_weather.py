"""YOLO26 classification of four kinds of weather (https://docs.ultralytics.com/models/yolo26).

There is no published result. Network, data and recipe are those of yolo11/cls_n_weather: from scratch, the top-1
accuracy on the drawn skies of test is about 0.96, in 2 minutes of one core. Train with
    python tools/train.py configs/yolo26/cls_n_weather.py
"""

_base_ = [
    '../_base_/models/yolo26_cls.py',
    '../_base_/datasets/weather.py',
    '../_base_/schedules/yolov8_cls_weather.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
