"""DETR's schedule for the mask head: 25 epochs, × .1 from epoch 15 on, on a detector that does not change.

``load_from`` names the trained detector. To train all of it together, set ``train_cfg.freeze=[]``.
"""

_base_ = './detr_300e.py'

max_epochs = 25
lr_drop = 15

train_cfg = dict(
    freeze=[
        'backbone',
        'head.input_proj',
        'head.transformer',
        'head.query_embed',
        'head.fc_cls',
        'head.bbox_mlp',
    ],
)
