"""The transforms of the YOLO families, and what is measured, for every ``task`` but classification.

The augmentation is that of YOLOv8 (https://docs.ultralytics.com/usage/cfg): mosaic, copy-paste, affine, mixup, flips,
HSV. Each number is a setting: ``--cfg-options mixup_prob=0.1 degrees=5``.
"""

_base_ = './loaders.py'

task = 'det'  # or 'seg', 'pose', 'obb'
img_size = 640
mix_from = 'group'  # with cache='ram', 'dataset' lets a mosaic take any image
single_class = False
rect = True  # validate in batches of one shape, which have the least padding

# Resampling and padding of images, in prediction too. Converted weights keep the settings of their project.
prefilter_above = 2.0  # smooth what shrinks by more than this; None: never, as ultralytics, YOLOv5 and Darknet do
align_corners = False  # True: as Darknet does
pad_value = 114
letterbox = dict()  # more arguments of LetterBox in validation and prediction

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

# Masks have the resolution of the prototypes, as one index map with smaller objects on top.
with_masks = task == 'seg'
mask_stride = 4
overlap_mask = True

train_pipeline = [
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
    dict(
        type='Render',
        with_masks=with_masks,
        mask_stride=mask_stride,
        overlap_mask=overlap_mask,
        fill=pad_value,
        prefilter_above=prefilter_above,
        align_corners=align_corners,
    ),
    dict(type='RandomHSV', hue=hue, saturation=saturation, value=value),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=img_size, **letterbox),
    dict(type='Render', fill=pad_value, prefilter_above=prefilter_above, align_corners=align_corners),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(mix_from=mix_from, single_class=single_class, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(single_class=single_class, rect=rect, pipeline=val_pipeline))
test_dataloader = val_dataloader

_evaluators = dict(
    det=dict(type='CocoMetric', metric='bbox'),
    seg=dict(type='CocoMetric', metric=['bbox', 'segm']),
    pose=dict(type='CocoMetric', metric=['bbox', 'keypoints']),
    obb=dict(type='DOTAMetric'),
)
val_evaluator = _evaluators[task]
test_evaluator = val_evaluator
