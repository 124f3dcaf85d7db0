"""DOTA version 1 (https://captain-whu.github.io/DOTA), cut into tiles of 1024 pixels:

    python tools/tile_dota.py /data/DOTA/train data/dota/train
    python tools/tile_dota.py /data/DOTA/val data/dota/val

Recipes for images from above often add ``--cfg-options vertical_flip_prob=0.5 degrees=180``. To send predictions on the
test tiles to DOTA's server, run tools/test.py with
``--cfg-options val_images=test/images val_labels=None test_evaluator.submission_dir=submission``.
"""

from detkit.datasets.class_names import DOTA15

_base_ = './yolo_pipelines.py'

task = 'obb'
data_root = 'data/dota'
train_images, train_labels = 'train/images', 'train/labelTxt'
val_images, val_labels = 'val/images', 'val/labelTxt'
classes = DOTA15
img_size = 1024

train_dataloader = dict(
    dataset=dict(
        type='DotaDataset',
        data_root=data_root,
        images=train_images,
        labels=train_labels,
        metainfo=dict(classes=classes),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='DotaDataset',
        data_root=data_root,
        images=val_images if _base_.split is None else train_images,
        labels=val_labels if _base_.split is None else train_labels,
        metainfo=dict(classes=classes),
    )
)
test_dataloader = val_dataloader

test_evaluator = dict(submission_dir=None)
