"""COCO 2017 for YOLO26 after Objects365: ``size`` chooses the augmentation.

The values are those of https://docs.ultralytics.com/guides/yolo26-training-recipe, without n's exchange of the red and
the blue channel in a tenth of the images.
"""

_base_ = './coco.py'

size = 'n'
batch_size = 128
copy_paste_order = 'least_covered'
# By size: shares of mosaics, mixed images and pasted objects, range of scales, share of flips, translation, rotation
# and shear in degrees, and ranges of hue, saturation and value.
_settings = dict(
    n=(0.909, 0.012, 0.075, 0.562, 0.606, 0.071, 1.11, 1.46, 0.014, 0.645, 0.566),
    s=(0.992, 0.05, 0.404, 0.9, 0.304, 0.275, 0.0, 0.0, 0.013, 0.353, 0.194),
    m=(0.992, 0.427, 0.304, 0.95, 0.304, 0.275, 0.0, 0.0, 0.013, 0.353, 0.194),
    l=(0.992, 0.427, 0.404, 0.95, 0.304, 0.275, 0.0, 0.0, 0.013, 0.353, 0.194),
    x=(0.992, 0.427, 0.404, 0.95, 0.304, 0.275, 0.0, 0.0, 0.013, 0.353, 0.194),
)
mosaic_prob, mixup_prob, copy_paste_prob, scale, flip_prob, translate = _settings[size][:6]
degrees, shear, hue, saturation, value = _settings[size][6:]
