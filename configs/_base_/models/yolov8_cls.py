"""YOLOv8 classification, size n. Sizes differ in the backbone's deepen_factor and widen_factor."""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.25, max_channels=1024, out_indices=(4,)),
    head=dict(type='YOLOv8ClassifyHead', dropout=0.0, loss_cls=dict(type='CrossEntropyLoss', label_smoothing=0.0)),
    # PyTorch's own values, as the published classifiers have them; YOLOv8's detectors have 1e-3 and 0.03.
    batch_norm=dict(eps=1e-5, momentum=0.1),
)
