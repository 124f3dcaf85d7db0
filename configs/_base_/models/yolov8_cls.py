"""YOLOv8 classification. The last stage has up to 1024 channels in every size."""

_base_ = './yolov8_sizes.py'

max_channels = 1024

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=_base_.deepen_factor,
        widen_factor=_base_.widen_factor,
        max_channels=max_channels,
        out_indices=(4,),
    ),
    head=dict(type='YOLOv8ClassifyHead', dropout=0.0, loss_cls=dict(type='CrossEntropyLoss', label_smoothing=0.0)),
    # PyTorch's own values, as in the published classifiers; YOLOv8's detectors have 1e-3 and 0.03.
    batch_norm=dict(eps=1e-5, momentum=0.1),
)
