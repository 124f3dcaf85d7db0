"""Your own dataset in YOLO's layout for DETR; folders and class names come from its data.yaml, see ``data_yaml.py``."""

_base_ = './detr_pipelines.py'

data_yaml = 'data/data.yaml'
data_root = ''
single_class = False

train_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset', data_root=data_root, data_yaml=data_yaml, split='train', single_class=single_class
    )
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        data_yaml=data_yaml,
        split='val' if _base_.split is None else 'train',
        single_class=single_class,
    )
)
test_dataloader = val_dataloader
