"""RF-DETR with masks on COCO (https://arxiv.org/abs/2511.09554).

Expected mask mAP on val2017 (Roboflow's table): n 40.3, s 43.1, m 45.3, l 47.1, xl 48.8, 2xl 49.9. Train with
    python tools/train.py configs/rfdetr/seg_coco.py --cfg-options size=s data_root=/data/coco load_from=rfdetr-s-seg
"""

_base_ = [
    '../_base_/models/rfdetr_seg.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/rfdetr_100e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
keep_ratio, antialias = False, False
img_size = _base_.side
