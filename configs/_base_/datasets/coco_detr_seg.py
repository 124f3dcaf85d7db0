"""COCO 2017 with a mask for each object, as DETR takes it."""

_base_ = './coco_detr.py'

train_pipeline = [
    *_base_.train_geometry,
    {**_base_.render, 'with_masks': True, 'mask_stride': 1, 'overlap_mask': False},
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
