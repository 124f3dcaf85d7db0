"""COCO 2017 keypoints (https://cocodataset.org) for detectors on a feature pyramid; see ``coco_pose.py``."""

_base_ = './coco_detection.py'

task = 'pose'
train_ann = 'annotations/person_keypoints_train2017.json'
val_ann = 'annotations/person_keypoints_val2017.json'
classes = ('person',)

train_dataloader = dict(dataset=dict(keypoints=True, only_labelled=True))
val_dataloader = dict(dataset=dict(keypoints=True, only_labelled=True))
test_dataloader = val_dataloader
