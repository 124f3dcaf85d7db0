"""YOLOv8n detection on COCO128, the first 128 images of COCO train2017; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/det_n_coco128.py --cfg-options data_root=/data/coco128
"""

_base_ = [
    '../_base_/models/yolov8_det.py',
    '../_base_/datasets/coco128_det.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]

task = 'det'

max_epochs = 100
train_cfg = dict(max_epochs=max_epochs)
