"""YOLOv5's backbone as a classifier: the width of size l, one bottleneck a stage, and two linear layers on all cells.

224x224 pixels come out of the backbone as 8x8 cells. At four classes 21,729,592 parameters, 6.6 million of them linear.
"""

model = dict(
    type='ImageClassifier',
    # ImageNet's mean and deviation of the channels.
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(
        type='CSPDarknet',
        stem_padding=2,
        stage_blocks=(1, 1, 1, 1),
        block=dict(type='C3', shortcut=True),
        out_indices=(4,),
    ),
    neck=dict(type='SPP'),
    head=dict(
        type='MLPClassifyHead',
        pool_size=8,
        hidden_channels=(100,),
        dropout=0.0,
        loss_cls=dict(type='CrossEntropyLoss', label_smoothing=0.0),
    ),
    batch_norm=dict(eps=1e-5, momentum=0.1),  # PyTorch's own values
)
