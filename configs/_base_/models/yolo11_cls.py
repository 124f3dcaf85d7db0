"""YOLO11 classification."""

_base_ = './yolo11_sizes.py'

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(**_base_.backbone, out_indices=(4,)),
    neck=_base_.attention,
    head=dict(type='YOLOv8ClassifyHead', dropout=0.0, loss_cls=dict(type='CrossEntropyLoss', label_smoothing=0.0)),
    # PyTorch's own values, as in the published classifiers; YOLO11's detectors have 1e-3 and 0.03.
    batch_norm=dict(eps=1e-5, momentum=0.1),
)
