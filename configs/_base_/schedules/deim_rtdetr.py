"""DEIM's schedule on RT-DETRv2 (https://arxiv.org/abs/2412.04234), see ``deim.py``: 16 images a step."""

_base_ = './deim.py'

recipe = _base_.recipes['r18']

optim_wrapper = dict(accumulate=4)
default_hooks = dict(ema=dict(tau=2000))
