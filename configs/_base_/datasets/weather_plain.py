"""Four kinds of weather without augmentation: every image is stretched to the size."""

_base_ = './weather.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', size=_base_.img_size),
    dict(type='Render', antialias=True),
    dict(type='PackInputs'),
]
val_pipeline = train_pipeline
