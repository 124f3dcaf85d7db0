"""DEIM (https://arxiv.org/abs/2412.04234) on RT-DETRv2: SiLU, another MLP of positions and class loss, nothing frozen.

Its sizes are in all of its configs: ``--cfg-options size=r50``.
"""

_base_ = './rtdetr.py'

model = dict(
    data_preprocessor=dict(multi_scale_interval=None, multi_scale_repeat=3),
    backbone=dict(norm='bn', frozen_stages=-1),
    head=dict(
        act='SiLU',
        decoder=dict(act='SiLU', num_position_layers=3),
        loss_cls=dict(_delete_=True, type='MatchabilityAwareLoss', alpha=1.0, gamma=1.5),
    ),
)
