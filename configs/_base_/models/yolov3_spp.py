"""YOLOv3-SPP: YOLOv3 with pools of 5, 9 and 13 beside the map in the coarsest set of convolutions."""

_base_ = './yolov3.py'

model = dict(neck=dict(spp=dict(type='SPP', kernel_sizes=(5, 9, 13))))
