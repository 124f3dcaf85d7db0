"""The parameters, gradients and settings with which MuSGD is compared with ultralytics' optimiser."""

from __future__ import annotations

import torch
from parity.seeded import seeded_tensor

SEED = 31
STEPS = 5
SHAPES = {
    'conv3x3': (24, 16, 3, 3),
    'same_shape': (24, 16, 3, 3),
    'pointwise': (40, 8, 1, 1),
    'depthwise': (16, 1, 3, 3),
    'flat_kernel': (8, 4, 5, 1),
    'tall_linear': (48, 12),
    'wide_linear': (12, 48),
    'norm': (16,),
    'bias': (24,),
}
# Arguments of the optimiser by group: weights decay, and one of the groups has the triple rate.
OPTIONS = dict(lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.01)
WEIGHTS = dict(muon=0.2, sgd=1.0)
TRIPLE = ('pointwise',)


def initial(dtype: torch.dtype) -> dict[str, torch.nn.Parameter]:
    return {
        name: torch.nn.Parameter((seeded_tensor(shape, name, SEED) - 0.5).to(dtype)) for name, shape in SHAPES.items()
    }


def gradient(name: str, step: int) -> torch.Tensor:
    """The gradient of a parameter in a step; ``bias`` has none in the first."""
    scale = 10.0 ** (step % 3 - 2)
    return (seeded_tensor(SHAPES[name], f'{name}.{step}', SEED) - 0.5) * scale


def rate(step: int) -> float:
    return OPTIONS['lr'] * (1 - step / (2 * STEPS))
