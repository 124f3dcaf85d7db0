"""COCO128 for DETR, see ``coco128.py``: validated on the images that it is trained on.

Images are stretched to a square of ``img_size`` pixels, neither flipped nor cropped: a model that starts from random
weights is to learn 128 images by heart, which augmentation delays.
"""

from detkit.datasets.class_names import COCO80

_base_ = './detr_pipelines.py'

data_root = 'data/coco128'
images = 'images/train2017'
classes = COCO80
keep_ratio = False
img_size = 192
flip_prob = 0.0
crop_prob = 0.0
batch_size = 4
val_batch_size = 8
cache = 'ram'

train_dataloader = dict(
    dataset=dict(type='YoloTxtDataset', data_root=data_root, images=images, metainfo=dict(classes=classes))
)
val_dataloader = dict(
    dataset=dict(type='YoloTxtDataset', data_root=data_root, images=images, metainfo=dict(classes=classes))
)
test_dataloader = val_dataloader
