"""Your own dataset in YOLO's layout for DEIM; see ``data_yaml.py``."""

_base_ = './data_yaml_rtdetr.py'

augment = 'dense'
