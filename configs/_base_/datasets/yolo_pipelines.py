"""The transforms of the YOLO families, and what is measured, for every ``task`` but classification.

The augmentation is that of YOLOv8 (https://docs.ultralytics.com/usage/cfg): mosaic, copy-paste, affine, mixup, flips,
HSV. With ``augment='yolox'`` it is that of YOLOX (https://arxiv.org/abs/2107.08430): a mosaic is turned, scaled and
averaged with a plain image, and what is no mosaic is only letterboxed, flipped and changed in colour. Each number is a
setting: ``--cfg-options mixup_prob=0.1 degrees=5``.
"""

_base_ = './loaders.py'

task = 'det'  # or 'seg', 'pose', 'obb'
augment = 'yolov8'  # or 'yolox'
_yolox = augment == 'yolox'
img_size = 640
mix_from = 'group'  # with cache='ram', 'dataset' lets a mosaic take any image
single_class = False
rect = not _yolox  # validate in batches of one shape, which have the least padding

# Resampling and padding of images, in prediction too. Converted weights keep the settings of their project.
# Smooth what shrinks by more than this; None: never, as YOLOX, ultralytics, YOLOv5 and Darknet do.
prefilter_above = None if _yolox else 2.0
align_corners = False  # True: as Darknet does
pad_value = 114
size_divisor = 32  # of padded images' sides in validation and prediction: the coarsest stride
# More arguments of LetterBox in validation and prediction.
letterbox = dict(position='top_left', rounding='down', pad_to='size') if _yolox else dict()

mosaic_prob = 1.0
copy_paste_prob = 0.0
copy_paste_order = 'random'  # or 'least_covered', as ultralytics 8.4
mixup_prob = 0.0
translate = 0.1
scale = 0.5  # or the lowest and the highest factor
degrees = 10.0 if _yolox else 0.0
shear = 2.0 if _yolox else 0.0
perspective = 0.0
vertical_flip_prob = 0.0
flip_prob = 0.5
hue, saturation, value = (5 / 180, 30 / 255, 30 / 255) if _yolox else (0.015, 0.7, 0.4)

# Masks have the resolution of the prototypes, as one index map with smaller objects on top.
with_masks = task == 'seg'
mask_stride = 4
overlap_mask = True

_affine = dict(
    type='RandomAffine',
    size=img_size,
    translate=translate,
    scale=scale,
    degrees=degrees,
    shear=shear,
    perspective=perspective,
)
_flips = [
    dict(type='RandomFlip', prob=vertical_flip_prob, direction='vertical'),
    dict(type='RandomFlip', prob=flip_prob),
]
_geometry = dict(
    yolov8=[
        dict(type='Mosaic', size=img_size, prob=mosaic_prob),
        dict(type='CopyPaste', prob=copy_paste_prob, order=copy_paste_order),
        _affine,
        dict(type='MixUp', prob=mixup_prob),
        *_flips,
    ],
    yolox=[
        dict(
            type='RandomChoice',
            transforms=[
                [
                    dict(type='Mosaic', size=img_size),
                    _affine,
                    # Of images as they are before the choice: plain ones.
                    dict(type='ScaledMixUp', prob=mixup_prob, scale=(0.5, 1.5)),
                    *_flips,
                ],
                # Mirrored before it is padded: the padding stays where validation and prediction have it.
                [*_flips, dict(type='LetterBox', size=img_size, **letterbox)],
            ],
            prob=[mosaic_prob, 1 - mosaic_prob],
        ),
    ],
)
# Which objects stay once they are moved and cut.
_kept = dict(min_size=1.0, max_aspect=None, min_area_ratio=0.0) if _yolox else dict()
_hsv = dict(additive=True, prob=0.5) if _yolox else dict()
train_pipeline = [
    dict(type='LoadImageFromFile'),
    *_geometry[augment],
    dict(
        type='Render',
        with_masks=with_masks,
        mask_stride=mask_stride,
        overlap_mask=overlap_mask,
        fill=pad_value,
        prefilter_above=prefilter_above,
        align_corners=align_corners,
        **_kept,
    ),
    dict(type='RandomHSV', hue=hue, saturation=saturation, value=value, **_hsv),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=img_size, size_divisor=size_divisor, **letterbox),
    dict(type='Render', fill=pad_value, prefilter_above=prefilter_above, align_corners=align_corners),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(mix_from=mix_from, single_class=single_class, pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(single_class=single_class, rect=rect, size_divisor=size_divisor, pipeline=val_pipeline)
)
test_dataloader = val_dataloader

_evaluators = dict(
    det=dict(type='CocoMetric', metric='bbox'),
    seg=dict(type='CocoMetric', metric=['bbox', 'segm']),
    pose=dict(type='CocoMetric', metric=['bbox', 'keypoints']),
    obb=dict(type='DOTAMetric'),
)
val_evaluator = _evaluators[task]
test_evaluator = val_evaluator
