"""COCO 2017 and PASCAL VOC as one training set with COCO's 80 classes, validated on COCO.

Both lie as in ``coco_files.py`` and ``voc_files.py``. VOC's names are mapped to COCO's; objects in VOC's images of the
60 classes that VOC does not label count as background there, which ``weights`` can make rarer. Images without any
object may be added: ``--cfg-options background_images=/data/empty background=0.05``.
"""

from detkit.datasets.class_names import COCO80, VOC20

_base_ = './yolo_pipelines.py'

data_root = 'data/coco'
train_ann, train_images = 'annotations/instances_train2017.json', 'train2017'
val_ann, val_images = 'annotations/instances_val2017.json', 'val2017'
voc_root = 'data/VOCdevkit'
classes = COCO80
weights = [1.0, 0.5]  # of COCO and VOC: all of the former and another half of the latter in each epoch
background_images = None  # a folder
background = 0.05  # the share of an epoch's samples that come from it
val_batch_size = 32

_coco = dict(type='CocoDataset', data_root=data_root, metainfo=dict(classes=classes))
datasets = [
    dict(_coco, ann_file=train_ann, img_prefix=train_images, **_base_.train_dataloader.dataset),
    dict(
        type='VOCDataset',
        data_root=voc_root,
        splits=['VOC2007/trainval', 'VOC2012/trainval'],
        metainfo=dict(classes=VOC20),
        class_map=dict(
            aeroplane='airplane',
            diningtable='dining table',
            motorbike='motorcycle',
            pottedplant='potted plant',
            sofa='couch',
            tvmonitor='tv',
        ),
        **_base_.train_dataloader.dataset,
    ),
]
if background_images is not None:
    datasets = [
        *datasets,
        dict(type='BackgroundDataset', images=background_images, **_base_.train_dataloader.dataset),
    ]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=datasets,
        classes=classes,
        weights=weights if background_images is None else [*weights, 1.0],
        background=None if background_images is None else background,
    )
)
val_dataloader = dict(
    dataset=dict(
        _coco,
        ann_file=val_ann if _base_.split is None else train_ann,
        img_prefix=val_images if _base_.split is None else train_images,
    )
)
test_dataloader = val_dataloader
