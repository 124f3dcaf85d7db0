"""YOLOv8's schedule for classifiers: as for detection, for 100 epochs. ``type='auto'`` is explained there."""

_base_ = './yolov8_500e.py'

max_epochs = 100
