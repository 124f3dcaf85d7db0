"""PASCAL VOC 2007 and 2012 for RT-DETR; see ``voc_files.py``, also for your own data in this layout."""

_base_ = './voc_detr.py'

img_size = 640
keep_ratio = False
augment = 'ssd'
batch_size = 4
val_batch_size = 8
