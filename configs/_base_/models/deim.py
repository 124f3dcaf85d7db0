"""DEIM (https://arxiv.org/abs/2412.04234) on D-FINE: SiLU in the decoder, another class loss, and nothing is frozen.

Its sizes are in all of its configs: ``--cfg-options size=n``.
"""

_base_ = './dfine.py'

model = dict(
    backbone=dict(norm='bn', frozen_stages=-1),
    head=dict(
        act='SiLU',
        decoder=dict(act='SiLU', feedforward_act='SiLU'),
        loss_cls=dict(_delete_=True, type='MatchabilityAwareLoss', alpha=1.0, gamma=1.5),
    ),
)
