"""COCO128: the first 128 images of COCO train2017. As usual, it is validated on the images that it is trained on.

The folder is that of https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip, or of
``coco128-seg.zip`` beside it, which has outlines; unpack it in ``data/``.
"""

from detkit.datasets.class_names import COCO80

_base_ = './yolo_pipelines.py'

data_root = 'data/coco128-seg' if _base_.with_masks else 'data/coco128'
classes = COCO80

train_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/train2017',
        metainfo=dict(classes=classes),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/train2017',
        metainfo=dict(classes=classes),
    )
)
test_dataloader = val_dataloader
