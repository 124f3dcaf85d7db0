"""YOLOv5m detection on COCO8, eight images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov5. Train with
    python tools/train.py configs/yolov5/det_m_coco8.py
"""

_base_ = './det_n_coco8.py'

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.67, block=dict(type='C3'), reduce=True)],
)
