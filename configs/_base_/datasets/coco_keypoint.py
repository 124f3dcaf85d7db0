"""COCO 2017 keypoints (https://cocodataset.org) for detectors on a feature pyramid, by torchvision's recipe.

Training takes the images that show a person with labelled keypoints, and learns the boxes of all persons in them;
validation takes all 5,000 images. torchvision's training also leaves out images with fewer than 10 labelled keypoints.
"""

_base_ = './coco_detection.py'

task = 'pose'
train_ann = 'annotations/person_keypoints_train2017.json'
val_ann = 'annotations/person_keypoints_val2017.json'
classes = ('person',)

train_dataloader = dict(dataset=dict(keypoints=True, only_labelled=True, unlabelled='keep'))
val_dataloader = dict(dataset=dict(keypoints=True))
test_dataloader = val_dataloader
