"""The transforms of DETR (https://arxiv.org/abs/2005.12872, section A.4), and what is measured for every ``task``.

Half of the training images are resized to one of several sizes; the other half are cropped before. All sizes follow
from ``img_size``, the shorter side in validation: at 800 the shorter side is one of 480, 512, ..., 800 and the longer
one at most 1333; crops are 384 to 600 pixels wide and high, of an image whose shorter side is 400, 500 or 600.
"""

_base_ = './loaders.py'

task = 'det'  # or 'seg', 'panoptic'
augment = 'crop'  # 'ssd': zoom-out, crops by IoU and photometric distortion, as RT-DETR and D-FINE; 'dense': as DEIM
keep_ratio = True  # False: the images are stretched to a square of side img_size instead
antialias = True  # in validation: images are smoothed as much as they shrink; False: never
img_size = 800
batch_size = 2
val_batch_size = 2

flip_prob = 0.5
crop_prob = 0.5
max_size = img_size * 5 // 3
short_sides = list(range(img_size * 3 // 5, img_size + 1, max(img_size // 25, 1)))
sides_before_crop = [img_size // 2, img_size * 5 // 8, img_size * 3 // 4]
crop_sides = (img_size * 12 // 25, img_size * 3 // 4)

# With augment='dense', an image becomes a mosaic of four or is changed as by 'ssd'. Then it may be averaged with
# another image, or with objects of another.
mosaic_prob = 0.5
mosaic_size = img_size // 2
mixup_prob = 0.5
copy_blend_prob = 0.0
min_box_size = 1 if augment == 'dense' else 0  # smaller objects are left out

load = [dict(type='LoadImageFromFile')]
stretch = dict(type='Resize', size=img_size, keep_ratio=False)
resize = dict(type='ResizeShortestEdge', size=short_sides, max_size=max_size) if keep_ratio else stretch
crop = [
    dict(type='ResizeShortestEdge', size=sides_before_crop),
    dict(type='RandomCrop', min_size=crop_sides[0], max_size=crop_sides[1]),
]
render = dict(
    type='Render',
    # An object stays as long as any of it is in the picture.
    min_size=min_box_size,
    max_aspect=None,
    min_area_ratio=0,
    min_outline_area_ratio=0,
    with_masks=task != 'det',
    mask_stride=1,
    overlap_mask=False,
)
_ssd = [dict(type='RandomZoomOut', prob=0.5), dict(type='RandomIoUCrop', prob=0.8)]
_mosaic = [
    dict(type='GridMosaic', size=mosaic_size),
    dict(type='RandomAffine', translate=0.1, scale=0.5, degrees=10.0),
]
_geometry = dict(
    crop=[
        dict(type='RandomFlip', prob=flip_prob),
        dict(type='RandomChoice', transforms=[[], crop], prob=[1 - crop_prob, crop_prob]),
    ],
    ssd=[*_ssd, dict(type='RandomFlip', prob=flip_prob)],
    dense=[
        dict(type='RandomChoice', transforms=[_mosaic, _ssd], prob=[mosaic_prob, 1 - mosaic_prob]),
        dict(type='RandomFlip', prob=flip_prob),
    ],
)
_distorted = [dict(render, fill=0), dict(type='RandomPhotometricDistort', prob=0.5)]
_rendered = dict(
    crop=[render],
    ssd=_distorted,
    dense=[
        dict(type='MixUp', prob=mixup_prob, share=(0.45, 0.55)),
        *_distorted,
        *([dict(type='CopyBlend', prob=copy_blend_prob)] if copy_blend_prob else []),
    ],
)
train_pipeline = [*load, *_geometry[augment], resize, *_rendered[augment], dict(type='PackInputs')]
val_pipeline = [
    *load,
    dict(type='ResizeShortestEdge', size=img_size, max_size=max_size) if keep_ratio else stretch,
    dict(type='Render', antialias=antialias, prefilter_above=None),
    dict(type='PackInputs'),
]

train_dataloader = dict(drop_last=True, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(rect=True, pipeline=val_pipeline))  # images of one shape together: less padding
test_dataloader = val_dataloader

_evaluators = dict(
    det=dict(type='CocoMetric', metric='bbox'),
    seg=dict(type='CocoMetric', metric=['bbox', 'segm']),
    panoptic=[dict(type='PanopticMetric'), dict(type='CocoMetric', metric='bbox')],
)
val_evaluator = _evaluators[task]
test_evaluator = val_evaluator
