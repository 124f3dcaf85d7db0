"""RF-DETR with a mask for each object (https://arxiv.org/abs/2511.09554), in sizes of its own: n, s, m, l, xl, 2xl."""

_base_ = './rfdetr_base.py'

# By size: the side of the images in pixels, the decoder's layers, queries, and windows along each side of an image.
sizes = dict(
    n=(312, 4, 100, 1),
    s=(384, 4, 100, 2),
    m=(432, 5, 200, 2),
    l=(504, 5, 200, 2),
    xl=(624, 6, 300, 2),
    **{'2xl': (768, 6, 300, 2)},
)
size = 'n'
side, num_layers, num_queries, num_windows = sizes[size]
patch_size = 12

model = dict(
    head=dict(
        type='RFDETRSegmentHead',
        mask_stride=4,
        loss_mask=dict(type='MaskFocalLoss', loss_weight=5.0, alpha=None, gamma=0.0),  # cross entropy
        loss_dice=dict(type='MaskDiceLoss', loss_weight=5.0),
    )
)
