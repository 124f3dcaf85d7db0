"""Your own dataset in YOLO's layout for detectors on a feature pyramid; see ``data_yaml.py``."""

_base_ = './fpn_pipelines.py'

data_yaml = 'data/data.yaml'
data_root = ''
labels = 'pose' if _base_.task == 'pose' else 'outline'

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
