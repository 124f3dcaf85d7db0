"""Your own image folder: ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``; the folders' names are the classes.

Use: ``--cfg-options data_root=path/to/folder``; ``train_folder`` and ``val_folder`` name the splits. The transforms
are those of YOLOv8's classifiers, each number a setting: ``crop_scale='[0.08, 1.0]' erasing_prob=0``. RandAugment and
colour jitter are alternatives: for the latter set ``randaugment_ops=0 jitter=0.4``.
"""

_base_ = './loaders.py'

task = 'cls'
data_root = 'data/images'
train_folder = 'train'
val_folder = 'val'
img_size = 224

crop_scale = (0.5, 1.0)  # share of the image's area
vertical_flip_prob = 0.0
flip_prob = 0.5
randaugment_ops = 2
randaugment_magnitude = 9
jitter, jitter_hue = 0.0, 0.0  # brightness, contrast and saturation alike
erasing_prob = 0.4

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=img_size, scale=crop_scale),
    dict(type='RandomFlip', prob=vertical_flip_prob, direction='vertical'),
    dict(type='RandomFlip', prob=flip_prob),
    dict(type='RandAugment', num_ops=randaugment_ops, magnitude=randaugment_magnitude),
    dict(type='Render', antialias=True),
    dict(type='ColorJitter', brightness=jitter, contrast=jitter, saturation=jitter, hue=jitter_hue),
    dict(type='RandomErasing', prob=erasing_prob),
    dict(type='PackInputs'),
]
val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeShortestEdge', size=img_size),
    dict(type='CenterCrop', size=img_size),
    dict(type='Render', antialias=True),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    dataset=dict(type='ImageFolderDataset', data_root=data_root, folder=train_folder, pipeline=train_pipeline)
)
val_dataloader = dict(
    dataset=dict(
        type='ImageFolderDataset',
        data_root=data_root,
        folder=val_folder if _base_.split is None else train_folder,
        class_folder=train_folder,
        pipeline=val_pipeline,
    )
)
test_dataloader = val_dataloader

val_evaluator = dict(type='AccuracyMetric')
test_evaluator = val_evaluator
