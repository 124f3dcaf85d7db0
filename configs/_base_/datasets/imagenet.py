"""ImageNet-1k (https://image-net.org): 1,281,167 training and 50,000 validation images in 1000 class folders each.

The folders' names, WordNet's ids (``n01440764``), are the class names; sorted they give the usual labels 0 … 999.
"""

_base_ = './image_folder.py'

data_root = 'data/imagenet'
batch_size = 256
val_batch_size = 256
