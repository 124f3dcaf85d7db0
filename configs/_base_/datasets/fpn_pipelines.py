"""The transforms of detectors on a feature pyramid, and what is measured for every ``task``.

An image is flipped, resized to a shorter side of ``img_size`` with the longer one at most 5/3 of that (800 and 1333),
and padded to multiples of 32, as in torchvision and mmdetection. Several values of ``short_sides`` draw one for each
training image: ``--cfg-options short_sides="[640, 672, 704, 736, 768, 800]"``.
"""

_base_ = './loaders.py'

task = 'det'  # or 'seg', 'pose'
img_size = 800
batch_size = 2
val_batch_size = 2
single_class = False

flip_prob = 0.5
max_size = img_size * 5 // 3
short_sides = img_size
size_divisor = 32

load = [dict(type='LoadImageFromFile')]
train_pipeline = [
    *load,
    dict(type='RandomFlip', prob=flip_prob),
    dict(type='ResizeShortestEdge', size=short_sides, max_size=max_size, rounding='down'),
    dict(
        type='Render',
        prefilter_above=None,
        # An object stays as long as any of it is in the picture.
        min_size=0,
        max_aspect=None,
        min_area_ratio=0,
        min_outline_area_ratio=0,
        with_masks=task == 'seg',
        mask_stride=1,
        overlap_mask=False,
    ),
    dict(type='PackInputs'),
]
val_pipeline = [
    *load,
    dict(type='ResizeShortestEdge', size=img_size, max_size=max_size, rounding='down'),
    dict(type='Render', prefilter_above=None),
    dict(type='PackInputs'),
]

collate_fn = dict(type='collate', size_divisor=size_divisor)
train_dataloader = dict(
    drop_last=True, collate_fn=collate_fn, dataset=dict(single_class=single_class, pipeline=train_pipeline)
)
# Images of one shape together have less padding.
val_dataloader = dict(collate_fn=collate_fn, dataset=dict(single_class=single_class, rect=True, pipeline=val_pipeline))
test_dataloader = val_dataloader

_evaluators = dict(
    det=dict(type='CocoMetric', metric='bbox'),
    seg=dict(type='CocoMetric', metric=['bbox', 'segm']),
    pose=dict(type='CocoMetric', metric=['bbox', 'keypoints']),
)
val_evaluator = _evaluators[task]
test_evaluator = val_evaluator
