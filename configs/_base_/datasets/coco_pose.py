"""COCO 2017 keypoints (https://cocodataset.org): images that show a person with labelled keypoints.

These are 56,599 training and 2,346 validation images; names, pairs and skeleton are read from the files.
"""

_base_ = './coco.py'

task = 'pose'
train_ann = 'annotations/person_keypoints_train2017.json'
val_ann = 'annotations/person_keypoints_val2017.json'
classes = ('person',)

train_dataloader = dict(dataset=dict(keypoints=True, only_labelled=True))
val_dataloader = dict(dataset=dict(keypoints=True, only_labelled=True))
test_dataloader = val_dataloader
