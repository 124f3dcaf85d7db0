"""Batch normalisation, frozen or with other constants, and normalisation of the channels of each cell or query."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.utils.errors import ConfigError, nearest


class FrozenBatchNorm2d(nn.Module):
    """Frozen batch normalisation, computed in the type of its input.

    Weights and statistics are buffers with the names of ``nn.BatchNorm2d``, so that weights of either fit and no
    optimiser sees them. Nothing of the map is kept for the gradient. Unlike torchvision's, the layer leaves a bfloat16
    map of autocast in bfloat16.

    Args:
        num_features: C.
        eps: is added to the variance.

    Shape: ``(B, C, H, W)`` to the same.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer('weight', torch.ones(num_features))
        self.register_buffer('bias', torch.zeros(num_features))
        self.register_buffer('running_mean', torch.zeros(num_features))
        self.register_buffer('running_var', torch.ones(num_features))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.pop(f'{prefix}num_batches_tracked', None)  # of a normalisation that was trained
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'{self.num_features}, eps={self.eps}'

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()  # (C,)
        bias = self.bias - self.running_mean * scale  # (C,)
        scale, bias = (vector.to(x.dtype).view(1, -1, 1, 1) for vector in (scale, bias))
        return torch.addcmul(bias, x, scale)


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each cell of a map.

    Args:
        num_channels: C.
        eps: is added to the variance.

    Shape: ``(B, C, H, W)`` to the same.
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__(num_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # (B, C, H, W) -> (B, H, W, C) and back


class RMSNorm(nn.Module):
    """Division of vectors by the root of their mean square (arXiv:1910.07467), without a mean and a bias.

    ``nn.RMSNorm`` of PyTorch 2.4 has the same weight; this one works in earlier releases too.

    Args:
        num_channels: C.
        eps: is added to the mean square.

    Shape: ``(..., C)`` to the same; half-precision vectors are normalised in float32.
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels))

    def extra_repr(self) -> str:
        return f'{len(self.weight)}, eps={self.eps}'

    def forward(self, x: Tensor) -> Tensor:
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = (precise.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return (precise * scale).to(x.dtype) * self.weight


# The normalisation of vectors by name.
VECTOR_NORMS = {'LN': nn.LayerNorm, 'RMS': RMSNorm}


def build_vector_norm(norm: str, num_channels: int) -> nn.Module:
    """Return a normalisation of vectors of ``num_channels`` values, by its name in ``VECTOR_NORMS``.

    Raises:
        ConfigError: there is none of that name.
    """
    if norm not in VECTOR_NORMS:
        raise ConfigError(f'norm is {norm!r}; it must be one of {", ".join(map(repr, VECTOR_NORMS))}')
    return VECTOR_NORMS[norm](num_channels)


_SETTINGS = ('eps', 'momentum')


def set_batch_norm(model: nn.Module, settings: dict[str, float]) -> None:
    """Give every batch normalisation of ``model`` the same ``eps``, ``momentum`` or both; a frozen one has no latter.

    Raises:
        ConfigError: ``settings`` has another key, or a value that normalisation cannot use.
    """
    for key in settings:
        if key not in _SETTINGS:
            raise ConfigError(
                f'{type(model).__name__}: batch_norm has no key {key!r}; it takes eps and momentum.'
                f'{nearest(key, _SETTINGS)}'
            )
        value = settings[key]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and 0 <= value <= (float('inf') if key == 'eps' else 1)):
            expected = 'a number of at least 0' if key == 'eps' else 'a number from 0 to 1'
            raise ConfigError(f'{type(model).__name__}: batch_norm.{key} must be {expected}, found {value!r}')
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            vars(module).update(settings)
        elif isinstance(module, FrozenBatchNorm2d):
            module.eps = settings.get('eps', module.eps)
