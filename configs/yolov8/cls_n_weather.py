"""YOLOv8n classification of four kinds of weather, drawn skies for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/cls_n_weather.py

From scratch on the drawn skies (64 images a class, 24 to test on): top-1 about 0.98.
"""

_base_ = [
    '../_base_/models/yolov8_cls.py',
    '../_base_/datasets/weather_cls.py',
    '../_base_/schedules/yolov8_cls_weather.py',
    '../_base_/default_runtime.py',
]

task = 'cls'
