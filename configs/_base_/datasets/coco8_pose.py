"""COCO8-pose: persons with 17 keypoints, downloaded or drawn on the first run where they are missing.

The public set has four training and four validation images, the drawn one 48 and 8, as a network that starts from
nothing cannot learn poses from four. Few images are repeated, so that an epoch has 48 samples either way.
"""

from detkit.structures.keypoints import COCO_KEYPOINTS

_base_ = './yolo_pipelines.py'

task = 'pose'
data_root = 'data/coco8-pose'
classes = ('person',)
keypoint_names = COCO_KEYPOINTS
metainfo = dict(classes=classes, keypoint_names=keypoint_names)
keypoint_shape = (17, 3)
batch_size = 4
val_batch_size = 4
cache = 'ram'
epoch_samples = 48

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        at_least=epoch_samples,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images='images/train',
            labels='pose',
            keypoint_shape=keypoint_shape,
            sample='coco8-pose',
            metainfo=metainfo,
            **_base_.train_dataloader.dataset,
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/val' if _base_.split is None else 'images/train',
        labels='pose',
        keypoint_shape=keypoint_shape,
        sample='coco8-pose',
        metainfo=metainfo,
    )
)
test_dataloader = val_dataloader
