"""What the datasets of the YOLO families share: settings to change, and the geometric and colour transforms.

Augmentation of YOLOv8 (https://docs.ultralytics.com/usage/cfg): mosaic, copy-paste, affine, mixup, flips, HSV. Each is
one of the names below: ``--cfg-options mixup_prob=0.1 degrees=5``.
"""

img_size = 640
num_workers = 2
# 'ram' decodes every image once and keeps it; partners 'dataset' then lets a mosaic take any of them.
cache = None
partners = 'group'
fraction = 1.0
single_class = False
max_skipped = 0.01

mosaic_prob = 1.0
copy_paste_prob = 0.0
mixup_prob = 0.0
translate = 0.1
scale = 0.5
degrees = 0.0
shear = 0.0
perspective = 0.0
vertical_flip_prob = 0.0
flip_prob = 0.5
hue, saturation, value = 0.015, 0.7, 0.4

# Masks are drawn at the resolution of the prototypes, as one index map with smaller objects on top.
mask_stride = 4
overlap_mask = True

train_geometry = [
    dict(type='LoadImageFromFile'),
    dict(type='Mosaic', size=img_size, prob=mosaic_prob),
    dict(type='CopyPaste', prob=copy_paste_prob),
    dict(
        type='RandomAffine',
        size=img_size,
        translate=translate,
        scale=scale,
        degrees=degrees,
        shear=shear,
        perspective=perspective,
    ),
    dict(type='MixUp', prob=mixup_prob),
    dict(type='RandomFlip', prob=vertical_flip_prob, direction='vertical'),
    dict(type='RandomFlip', prob=flip_prob),
]
train_color = [dict(type='HSV', hue=hue, saturation=saturation, value=value)]

train_pipeline = [*train_geometry, dict(type='Render'), *train_color, dict(type='PackInputs')]

val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=img_size),
    dict(type='Render'),
    dict(type='PackInputs'),
]
