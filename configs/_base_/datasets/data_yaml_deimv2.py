"""Your own dataset in YOLO's layout for DEIMv2: ``size`` chooses the side of images and the augmentation."""

_base_ = './data_yaml_deim.py'

size = 'n'
# By size: the side of images, the shares of mosaics, averaged images and blended objects, and the least side of a box.
_settings = dict(
    atto=(320, 0.3, 0.0, 0.0, 12),
    femto=(416, 0.5, 0.0, 0.0, 10),
    pico=(640, 0.5, 0.0, 0.0, 8),
    n=(640, 0.5, 0.5, 0.4, 1),
)
img_size, mosaic_prob, mixup_prob, copy_blend_prob, min_box_size = _settings[size]
