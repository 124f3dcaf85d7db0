"""YOLOv5s detection on COCO. No paper; described at https://docs.ultralytics.com/models/yolov5.

Expected on val2017: 37.4 box mAP (published there). Train with
    python tools/train.py configs/yolov5/det_s_coco.py --cfg-options data_root=/data/coco
"""

_base_ = './det_n_coco.py'

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.33, block=dict(type='C3'), reduce=True)],
)
