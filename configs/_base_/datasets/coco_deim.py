"""COCO 2017 for DEIM: that of RT-DETR with dense augmentation, of mosaics and averaged images."""

_base_ = './coco_rtdetr.py'

augment = 'dense'
