"""Four kinds of weather. Drawn on the first run where it is missing: 64 training and 24 test images a class."""

_base_ = './cls_common.py'

classes = ('cloudy', 'rain', 'shine', 'sunrise')
data_root = 'data/weather'
batch_size = 16
val_batch_size = 16
cache = 'ram'

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageFolderDataset',
        data_root=data_root,
        folder='train',
        sample='weather',
        metainfo=dict(classes=classes),
        cache=cache,
        fraction=_base_.fraction,
        max_skipped=_base_.max_skipped,
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='ImageFolderDataset',
        data_root=data_root,
        folder='test',
        sample='weather',
        metainfo=dict(classes=classes),
        max_skipped=_base_.max_skipped,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='AccuracyMetric', topk=(1,), cross_entropy=True)
test_evaluator = val_evaluator
