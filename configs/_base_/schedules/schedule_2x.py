"""The schedule '2x' of Detectron and mmdetection: that of ``schedule_1x.py`` over 24 epochs."""

_base_ = './schedule_1x.py'

max_epochs = 24
