"""DOTA8: objects seen from above, with rotated boxes. Made ready on the first run where it is missing.

The public set has four training and four validation images, the drawn one 32 and 8, as a network that starts from
nothing cannot learn angles from four. Few images are repeated, so that an epoch has 32 samples either way.
"""

_base_ = ['./dota_classes.py', './yolo_common.py']

data_root = 'data/dota8'
batch_size = 4
val_batch_size = 4
epoch_samples = 32
cache = 'ram'

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        at_least=epoch_samples,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images='images/train',
            labels='obb',
            sample='dota8',
            metainfo=dict(classes=_base_.classes),
            cache=cache,
            partners=_base_.partners,
            fraction=_base_.fraction,
            single_class=_base_.single_class,
            max_skipped=_base_.max_skipped,
            pipeline=_base_.train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/val',
        labels='obb',
        sample='dota8',
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='DOTAMetric')
test_evaluator = dict(type='DOTAMetric', submission_dir=None)
