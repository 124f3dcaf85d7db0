"""The schedule of torchvision's first detectors: 26 epochs, a tenth of the rate from epochs 16 and 22 on."""

_base_ = './schedule_1x.py'

max_epochs = 26
milestones = [16, 22]
