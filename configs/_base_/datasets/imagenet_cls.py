"""ImageNet-1k (https://image-net.org): 1,281,167 training and 50,000 validation images in 1000 class folders each.

The folders' names, WordNet's ids (``n01440764``), are the class names; sorted they give the usual labels 0 … 999.
"""

_base_ = './folder_cls.py'

data_root = 'data/imagenet'
batch_size = 256
val_batch_size = 256
num_workers = 8

train_dataloader = dict(batch_size=batch_size, num_workers=num_workers, dataset=dict(data_root=data_root))
val_dataloader = dict(batch_size=val_batch_size, num_workers=num_workers, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
