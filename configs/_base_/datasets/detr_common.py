"""What DETR's datasets share: settings to change, and its transforms (https://arxiv.org/abs/2005.12872, section A.4).

Half of the training images are resized to one of several sizes; the other half are cropped before. All sizes follow
from ``img_size``, the shorter side in validation: at 800 the shorter side is one of 480, 512, ..., 800 and the longer
one at most 1333; crops are 384 to 600 pixels wide and high, of an image whose shorter side is 400, 500 or 600.
"""

img_size = 800
num_workers = 2
cache = None
fraction = 1.0
single_class = False
max_skipped = 0.01

flip_prob = 0.5
crop_prob = 0.5
max_size = img_size * 5 // 3
short_sides = list(range(img_size * 3 // 5, img_size + 1, max(img_size // 25, 1)))
sides_before_crop = [img_size // 2, img_size * 5 // 8, img_size * 3 // 4]
crop_sides = (img_size * 12 // 25, img_size * 3 // 4)

resize = dict(type='ResizeShortestEdge', size=short_sides, max_size=max_size)
crop = [
    dict(type='ResizeShortestEdge', size=sides_before_crop),
    dict(type='RandomCrop', min_size=crop_sides[0], max_size=crop_sides[1]),
]
train_geometry = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomFlip', prob=flip_prob),
    dict(type='RandomChoice', transforms=[[], crop], prob=[1 - crop_prob, crop_prob]),
    resize,
]
# An object stays as long as any of it is in the picture.
render = dict(type='Render', min_size=0, max_aspect=None, min_area_ratio=0, min_outline_area_ratio=0)
train_pipeline = [*train_geometry, render, dict(type='PackInputs')]

val_geometry = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeShortestEdge', size=img_size, max_size=max_size),
]
val_pipeline = [*val_geometry, dict(type='Render', antialias=True), dict(type='PackInputs')]
