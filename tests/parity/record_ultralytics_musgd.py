"""Records the weights after five steps of ultralytics 8.4.190's MuSGD, into musgd.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_musgd

Parameters, gradients and settings are those of ``musgd_shapes.py``. ``float64.<name>`` are weights of a run in float64,
the orthogonalisation too, which the release computes in bfloat16; ``bfloat16.<name>`` are those of a run in float32 as
the release is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import ultralytics
from parity.musgd_shapes import OPTIONS, SHAPES, STEPS, TRIPLE, WEIGHTS, gradient, initial, rate
from ultralytics.optim import MuSGD


def run(dtype: torch.dtype) -> dict[str, np.ndarray]:
    params = initial(dtype)
    groups = [
        {
            **OPTIONS,
            'params': [param],
            'use_muon': param.ndim >= 2,
            'weight_decay': OPTIONS['weight_decay'] if param.ndim >= 2 else 0.0,
        }
        for param in params.values()
    ]
    optimizer = MuSGD(groups, **WEIGHTS)
    for step in range(STEPS):
        for (name, param), group in zip(params.items(), optimizer.param_groups, strict=True):
            param.grad = None if name == 'bias' and step == 0 else gradient(name, step).to(dtype)
            group['lr'] = rate(step) * (3 if name in TRIPLE else 1)
        optimizer.step()
    return {name: param.detach().numpy() for name, param in params.items()}


def main() -> None:
    recorded = {'version': ultralytics.__version__}
    recorded |= {f'bfloat16.{name}': value for name, value in run(torch.float32).items()}
    torch.Tensor.bfloat16 = torch.Tensor.double
    recorded |= {f'float64.{name}': value for name, value in run(torch.float64).items()}
    np.savez_compressed(Path(__file__).with_name('musgd.npz'), **recorded)
    for name in SHAPES:
        print(name, np.abs(recorded[f'float64.{name}'] - recorded[f'bfloat16.{name}']).max())


if __name__ == '__main__':
    main()
