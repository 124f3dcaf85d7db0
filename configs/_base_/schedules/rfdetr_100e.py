"""RF-DETR's schedule: 100 epochs, AdamW at 1e-4, without a drop of the rate; 16 images a step, as 8 batches of 2.

The backbone has 1.5e-4 * 0.7², and less in each part towards the image; the layers of the decoder have 0.7e-4. Biases
and normalisation weights decay, too, but for those of the backbone.
"""

_base_ = './detr_300e.py'

max_epochs = 100

optim_wrapper = dict(
    accumulate=8,
    paramwise_cfg=dict(
        _delete_=True,
        lr_mult={'backbone': 1.5 * 0.7**2, 'head.decoder': 0.7, 'head.decoder.bbox_mlp': 1.0},
        decay_all=['neck', 'head'],
        layer_decay=0.8,
    ),
)
param_scheduler = dict(_delete_=True, type='WarmupDecay', warmup_epochs=0, warmup_momentum=None, decay='constant')
default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.993, tau=100),
)
