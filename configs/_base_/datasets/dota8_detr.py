"""DOTA8's validation images for RT-DETR, to be learnt by heart: validation reads the same, and nothing is augmented.

The drawn set has eight, its training images are too many to be learnt by a short run.
"""

_base_ = './dota8.py'

img_size = 256
rect = False
mosaic_prob = 0.0
translate = 0.0
scale = 0.0
flip_prob = 0.0
hue, saturation, value = 0.0, 0.0, 0.0

train_dataloader = dict(dataset=dict(dataset=dict(images='images/val')))
val_dataloader = dict(dataset=dict(images='images/val'))
test_dataloader = val_dataloader
