"""Four kinds of weather as they are: every image stretched to the size, nothing drawn at random."""

_base_ = './weather_cls.py'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Stretch', size=_base_.img_size),
    dict(type='Render', antialias=True),
    dict(type='PackInputs'),
]
val_pipeline = train_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
