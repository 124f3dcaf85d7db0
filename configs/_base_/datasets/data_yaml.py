"""Your own dataset in YOLO's layout; folders and class names come from its data.yaml.

Use: ``--cfg-options data_yaml=path/to/data.yaml``. ``data_root``, if set, takes the place of the yaml's ``path``. Label
files hold boxes or outlines; keypoints for the task 'pose' (the yaml has ``kpt_shape`` and ``flip_idx``); four corners
for 'obb'. Where the yaml has no ``val``: ``split=0.8``.
"""

_base_ = './yolo_pipelines.py'

data_yaml = 'data/data.yaml'
data_root = ''
labels = dict(pose='pose', obb='obb').get(_base_.task, 'outline')

train_dataloader = dict(
    dataset=dict(type='YoloTxtDataset', data_root=data_root, data_yaml=data_yaml, split='train', labels=labels)
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        data_yaml=data_yaml,
        split='val' if _base_.split is None else 'train',
        labels=labels,
    )
)
test_dataloader = val_dataloader
