"""YOLOv8 instance segmentation with a fourth level of stride 64, for large images."""

_base_ = './yolov8_det_p6.py'

model = dict(head=dict(type='YOLOv8SegmentHead', loss_mask=dict(type='ProtoMaskLoss', loss_weight=7.5)))
