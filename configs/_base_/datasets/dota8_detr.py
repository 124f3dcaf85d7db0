"""DOTA8's training images for RT-DETR, to be learnt by heart: validation reads the same, and nothing is augmented."""

_base_ = './dota8.py'

img_size = 320
rect = False
mosaic_prob = 0.0
translate = 0.0
scale = 0.0
flip_prob = 0.0
hue, saturation, value = 0.0, 0.0, 0.0

val_dataloader = dict(dataset=dict(images='images/train'))
test_dataloader = val_dataloader
