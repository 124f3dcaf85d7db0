"""COCO 2017 for RT-DETR: 80 classes, images stretched to a square of 640, 16 images a step."""

from detkit.datasets.class_names import COCO80

_base_ = './coco_detr.py'

keep_category_ids = False
classes = COCO80
img_size = 640
keep_ratio = False
augment = 'ssd'
batch_size = 4
val_batch_size = 8
