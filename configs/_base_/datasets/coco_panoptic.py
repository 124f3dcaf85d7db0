"""COCO 2017 panoptic: every pixel of an image, as one of 80 things or 53 kinds of stuff.

The PNGs lie in the folders that their archives have, beside the json: annotations/panoptic_val2017/000000000139.png.
"""

_base_ = './coco_panoptic_det.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegments'),
    *_base_.train_geometry[1:],
    {**_base_.render, 'with_masks': True, 'mask_stride': 1, 'overlap_mask': False},
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadSegments'),
    *_base_.val_geometry[1:],
    dict(type='Render', antialias=True),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader

val_evaluator = [dict(type='PanopticMetric'), dict(type='CocoMetric', metric='bbox')]
test_evaluator = val_evaluator
