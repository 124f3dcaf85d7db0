"""YOLO11 instance segmentation: the detector with mask coefficients and prototypes."""

_base_ = './yolo11_det.py'

model = dict(head=dict(type='YOLOv8SegmentHead', loss_mask=dict(type='ProtoMaskLoss', loss_weight=7.5)))
