"""Stacks of 3x3 convolutions before the predictors of a head, and their initial weights."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from detkit.utils.errors import ConfigError

from .sparse_grad_conv import SparseGradConv2d
from .winograd_conv import WinogradConv2d

_GROUPS = 32


def build_tower(
    in_channels: int,
    out_channels: int,
    count: int,
    norm: str | None = None,
    conv_bias: bool | None = None,
    learns_few_cells: bool = False,
) -> nn.Sequential:
    """Return ``count`` 3x3 convolutions, each with its normalisation and a ReLU.

    Args:
        in_channels, out_channels: before the first one, and of each.
        norm: ``'gn'`` for 32 groups of channels (one for each channel where there are fewer), ``'bn'``, or None.
        conv_bias: whether the convolutions have a bias; None gives them one where there is no normalisation.
        learns_few_cells: whether the loss takes a few cells of the output, see ``SparseGradConv2d``; behind a
            normalisation, which mixes cells, the gradient has all of them none the less.

    Raises:
        ConfigError: ``norm`` is none of these, or the groups do not divide the channels.
    """
    if norm not in (None, 'bn', 'gn'):
        raise ConfigError(f"norm is {norm!r}; it must be 'bn', 'gn' or None")
    if norm == 'gn' and out_channels > _GROUPS and out_channels % _GROUPS:
        raise ConfigError(f"norm='gn' needs a multiple of {_GROUPS} channels, found {out_channels}")
    has_bias = norm is None if conv_bias is None else conv_bias
    stages = []
    for index in range(count):
        width = out_channels if index else in_channels
        if norm == 'bn':  # which is folded into a plain convolution
            layers: list[nn.Module] = [nn.Conv2d(width, out_channels, 3, padding=1, bias=has_bias)]
        elif learns_few_cells and norm is None:
            layers = [SparseGradConv2d(width, out_channels, 3, has_bias)]
        else:
            layers = [WinogradConv2d(width, out_channels, has_bias)]
        if norm == 'bn':
            layers.append(nn.BatchNorm2d(out_channels))
        elif norm == 'gn':
            layers.append(nn.GroupNorm(min(_GROUPS, out_channels), out_channels))
        stages.append(nn.Sequential(*layers, nn.ReLU(inplace=True)))
    return nn.Sequential(*stages)


def init_convs(modules: Iterable[nn.Module], std: float = 0.01) -> None:
    """Draw the weights of all convolutions in ``modules`` from a normal distribution; biases become 0."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
