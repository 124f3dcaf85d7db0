"""A dataset of your own in YOLO's layout; folders and class names come from its data yaml.

Use: ``--cfg-options data_yaml=path/to/data.yaml``. ``data_root``, if set, takes the place of the yaml's ``path``.
"""

_base_ = './yolo_common.py'

data_yaml = 'data/data.yaml'
data_root = ''
batch_size = 16
val_batch_size = 16

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        data_yaml=data_yaml,
        split='train',
        cache=_base_.cache,
        partners=_base_.partners,
        fraction=_base_.fraction,
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        data_yaml=data_yaml,
        split='val',
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
