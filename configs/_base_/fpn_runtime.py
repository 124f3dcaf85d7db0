"""The settings of every run of a detector on a feature pyramid, which has more duplicates than others to suppress."""

_base_ = './default_runtime.py'

predict_cfg = dict(iou_thr=0.5)
