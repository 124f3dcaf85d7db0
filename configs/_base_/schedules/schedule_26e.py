"""The schedule of torchvision's first detectors: 26 epochs, a tenth of the rate from epochs 16 and 22 on."""

_base_ = './schedule_1x.py'

max_epochs = 26
milestones = [(max_epochs * 8 + 12) // 13, (max_epochs * 11 + 12) // 13]
