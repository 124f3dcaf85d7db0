"""RF-DETR on COCO: a real-time detection transformer (https://arxiv.org/abs/2511.09554).

Expected box mAP on val2017 (Roboflow's table, converted weights): n 48.4, s 53.0, m 54.7, l 56.5. Train with
    python tools/train.py configs/rfdetr/det_coco.py --cfg-options size=s data_root=/data/coco load_from=rfdetr-s
"""

_base_ = [
    '../_base_/models/rfdetr.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/rfdetr_100e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
keep_ratio, antialias = False, False
img_size = _base_.side
