"""DOTA version 1 (https://captain-whu.github.io/DOTA), cut into tiles of 1024 pixels:

    python tools/tile_dota.py /data/DOTA/train data/dota/train
    python tools/tile_dota.py /data/DOTA/val data/dota/val

Recipes for images from above often add ``--cfg-options vertical_flip_prob=0.5 degrees=180``. To send predictions on the
test tiles to DOTA's server, run tools/test.py with
``--cfg-options val_images=test/images val_labels=None test_evaluator.submission_dir=submission``.
"""

_base_ = ['./dota_classes.py', './yolo_common.py']

data_root = 'data/dota'
train_images, train_labels = 'train/images', 'train/labelTxt'
val_images, val_labels = 'val/images', 'val/labelTxt'
img_size = 1024
batch_size = 16
val_batch_size = 16
num_workers = 8

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Mosaic', size=img_size, prob=_base_.mosaic_prob),
    dict(type='CopyPaste', prob=_base_.copy_paste_prob),
    dict(
        type='RandomAffine',
        size=img_size,
        translate=_base_.translate,
        scale=_base_.scale,
        degrees=_base_.degrees,
        shear=_base_.shear,
        perspective=_base_.perspective,
    ),
    dict(type='MixUp', prob=_base_.mixup_prob),
    dict(type='RandomFlip', prob=_base_.vertical_flip_prob, direction='vertical'),
    dict(type='RandomFlip', prob=_base_.flip_prob),
    dict(type='Render'),
    dict(type='HSV', hue=_base_.hue, saturation=_base_.saturation, value=_base_.value),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=img_size),
    dict(type='Render'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='DotaDataset',
        data_root=data_root,
        images=train_images,
        labels=train_labels,
        metainfo=dict(classes=_base_.classes),
        cache=_base_.cache,
        partners=_base_.partners,
        fraction=_base_.fraction,
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='DotaDataset',
        data_root=data_root,
        images=val_images,
        labels=val_labels,
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='DOTAMetric')
test_evaluator = dict(type='DOTAMetric', submission_dir=None)
