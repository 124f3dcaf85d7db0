"""Four kinds of weather by YOLOv5's backbone and two linear layers, trained plainly; 21,729,592 parameters.

No paper; the backbone is described at https://docs.ultralytics.com/yolov5/tutorials/architecture_description. Expected:
90.7 % of 225 test photographs after 60 epochs (published for this recipe). Train with
    python tools/train.py configs/yolov5/cls_weather.py
The same with a pooled head, with a modern recipe and with both: cls_weather_gap.py, cls_weather_modern.py and
cls_weather_gap_modern.py. All runs in one table:
    python tools/analyze/summarize_runs.py work_dirs/cls_weather*
"""

_base_ = [
    '../_base_/models/yolov5_cls.py',
    '../_base_/datasets/weather_cls_plain.py',
    '../_base_/schedules/adam_60e.py',
    '../_base_/default_runtime.py',
]

task = 'cls'
