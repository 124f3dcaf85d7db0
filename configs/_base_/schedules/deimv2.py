"""DEIMv2's schedule (https://arxiv.org/abs/2509.20787), see ``deim.py``: near the end, matching is by class and IoU."""

_base_ = './deim.py'

recipe = _base_.recipes['n']
warmup_iters = 4000 if recipe[3] == 500 else 2000
switch_epochs = 24 if recipe[3] == 160 else 50  # the last ones, which have the other matching

default_hooks = dict(
    switch_assigner=dict(
        type='SwitchAssignerHook',
        epoch=max(_base_.max_epochs - switch_epochs, 1),
        assigner=dict(type='HungarianAssigner', match_costs=[dict(type='ScoreIoUCost', power=4.0)]),
    ),
)
