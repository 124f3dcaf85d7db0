"""COCO8-pose for detectors on a feature pyramid: validation reads the training images, see ``coco8_pose.py``."""

from detkit.structures.keypoints import COCO_KEYPOINTS

_base_ = './fpn_pipelines.py'

task = 'pose'
data_root = 'data/coco8-pose'
classes = ('person',)
keypoint_names = COCO_KEYPOINTS
metainfo = dict(classes=classes, keypoint_names=keypoint_names)
img_size = 256
flip_prob = 0.0
batch_size = 4
val_batch_size = 4
cache = 'ram'
epoch_samples = 48

train_dataloader = dict(
    drop_last=False,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        at_least=epoch_samples,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images='images/train',
            labels='pose',
            keypoint_shape=(17, 3),
            sample='coco8-pose',
            metainfo=metainfo,
            **_base_.train_dataloader.dataset,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/train',
        labels='pose',
        keypoint_shape=(17, 3),
        sample='coco8-pose',
        metainfo=metainfo,
        rect=False,
    )
)
test_dataloader = val_dataloader
