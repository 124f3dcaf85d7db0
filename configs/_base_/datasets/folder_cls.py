"""An image folder of your own: ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``; the folders' names are the classes.

Use: ``--cfg-options data_root=path/to/folder``; where the splits are called otherwise, ``train_folder`` and
``val_folder`` say how.
"""

_base_ = './cls_common.py'

data_root = 'data/images'
train_folder = 'train'
val_folder = 'val'
batch_size = 16
val_batch_size = 16

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='ImageFolderDataset',
        data_root=data_root,
        folder=train_folder,
        cache=_base_.cache,
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
        folder=val_folder,
        class_folder=train_folder,
        max_skipped=_base_.max_skipped,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader
