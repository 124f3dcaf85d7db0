"""A dataset of your own with outlines, for instance segmentation; see ``data_yaml_det.py``."""

_base_ = './data_yaml_det.py'

train_pipeline = [
    *_base_.train_geometry,
    dict(type='Render', with_masks=True, mask_stride=_base_.mask_stride, overlap_mask=_base_.overlap_mask),
    *_base_.train_color,
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
