"""COCO128 with outlines, for instance segmentation.

The folder is that of https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128-seg.zip.
"""

_base_ = './coco128_det.py'

data_root = 'data/coco128-seg'

train_pipeline = [
    *_base_.train_geometry,
    dict(type='Render', with_masks=True, mask_stride=_base_.mask_stride, overlap_mask=_base_.overlap_mask),
    *_base_.train_color,
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
