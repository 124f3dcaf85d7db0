"""COCO 2017 for DETR: labels are category ids, 91 classes with those never used; see ``coco_files.py``.

For your own JSON files also ``keep_category_ids=False``.
"""

from detkit.datasets.class_names import COCO91

_base_ = ['./detr_pipelines.py', './coco_files.py']

keep_category_ids = True
classes = COCO91
single_class = False

train_dataloader = dict(dataset=dict(keep_category_ids=keep_category_ids, single_class=single_class))
val_dataloader = dict(dataset=dict(keep_category_ids=keep_category_ids, single_class=single_class))
test_dataloader = val_dataloader
