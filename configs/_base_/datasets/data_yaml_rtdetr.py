"""Your own dataset in YOLO's layout for RT-DETR; see ``data_yaml.py``."""

_base_ = './data_yaml_detr.py'

img_size = 640
keep_ratio = False
augment = 'ssd'
batch_size = 4
val_batch_size = 8
