"""COCO 2017 (https://cocodataset.org) with outlines, for Mask R-CNN; see ``coco_detection.py``."""

_base_ = './coco_detection.py'

task = 'seg'
