"""Your own dataset in YOLO's layout for DEIMv2: ``size`` chooses the side of images and the augmentation."""

_base_ = ['./data_yaml_deim.py', './deimv2_sizes.py']

img_size, mosaic_prob, mixup_prob, copy_blend_prob, min_box_size = _base_.data_by_size[_base_.size]
