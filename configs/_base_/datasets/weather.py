"""Four kinds of weather, drawn on the first run where they are missing: 64 training and 24 test images a class."""

_base_ = './image_folder.py'

data_root = 'data/weather'
val_folder = 'test'
classes = ('cloudy', 'rain', 'shine', 'sunrise')
cache = 'ram'

train_dataloader = dict(dataset=dict(sample='weather', metainfo=dict(classes=classes)))
val_dataloader = dict(dataset=dict(sample='weather', metainfo=dict(classes=classes)))
test_dataloader = val_dataloader

val_evaluator = dict(topk=(1,), cross_entropy=True)
test_evaluator = val_evaluator
