"""``ConvModule``: convolution, normalisation, activation; and activations by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from detkit.models.layers.convolve import convolve
from detkit.models.layers.norm_silu import can_join, norm_silu
from detkit.models.layers.normalization import LayerNorm2d
from detkit.models.layers.packed import activated, passes_on
from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError, nearest

ACTIVATIONS = ('ELU', 'GELU', 'Hardswish', 'LeakyReLU', 'Mish', 'PReLU', 'ReLU', 'ReLU6', 'SELU', 'SiLU')
for _name in ACTIVATIONS:
    LAYERS.register_module(name=_name, module=getattr(nn, _name))

# Darknet's 'leaky'. In place: the normalisation before it keeps its own input, so that its output need not be kept too.
LEAKY_RELU = dict(type='LeakyReLU', negative_slope=0.1, inplace=True)
# An activation as an argument: a module, a registered name, a config, or None for the identity.
Activation = nn.Module | str | dict | None

# Settings of batch normalisation of YOLOv3 to YOLOv8, except for a few older weight files.
BN_EPS = 1e-3
BN_MOMENTUM = 0.03


class ConvModule(nn.Module):
    """Convolution without bias, normalisation, activation: ``(B, in, H, W) -> (B, out, H', W')``.

    Args:
        in_channels, out_channels: channels before and after.
        kernel_size, stride, groups, dilation: arguments of the convolution.
        padding: padding of the convolution; by default the size is kept at stride 1.
        act: the activation: a name such as ``'SiLU'``, ``dict(type='LeakyReLU', negative_slope=0.1)``, or a module;
            None for none.
        eps, momentum: arguments of the batch normalisation.
        norm: ``'BN'``, or ``'LN'`` for normalisation of the channels of each cell, which has an ``eps`` of its own.

    Raises:
        ConfigError: ``norm`` is neither.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        dilation: int = 1,
        act: Activation = 'SiLU',
        eps: float = BN_EPS,
        momentum: float = BN_MOMENTUM,
        norm: str = 'BN',
    ) -> None:
        super().__init__()
        if norm not in ('BN', 'LN'):
            raise ConfigError(f"norm is {norm!r}; it must be 'BN' or 'LN'")
        if padding is None:
            padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, groups=groups, bias=False
        )
        self.bn = (
            nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum) if norm == 'BN' else LayerNorm2d(out_channels)
        )
        self.act = build_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        if passes_on(self.bn):
            return activated(self.conv, self.act, x)
        y = convolve(self.conv, x)
        return norm_silu(self.bn, y) if can_join(self.bn, self.act, y) else self.act(self.bn(y))


class SeparableConv(nn.Sequential):
    """A depthwise convolution and a 1x1 convolution, each a ``ConvModule``, in place of one (arXiv:1704.04861).

    Args:
        in_channels, out_channels: channels before and after.
        kernel_size, stride: of the depthwise convolution.
        act, norm: activation and normalisation of both, see ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        act: Activation = 'SiLU',
        norm: str = 'BN',
    ) -> None:
        super().__init__(
            ConvModule(in_channels, in_channels, kernel_size, stride, groups=in_channels, act=act, norm=norm),
            ConvModule(in_channels, out_channels, 1, act=act, norm=norm),
        )


def build_activation(act: Activation) -> nn.Module:
    """Return the module that an activation argument describes.

    Raises:
        ConfigError: it is none of the three, or no activation of that name is registered.
    """
    if act is None:
        return nn.Identity()
    if isinstance(act, nn.Module):
        return act
    cfg = dict(type=act) if isinstance(act, str) else act
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ConfigError(f"act is {act!r}; it must be a name such as 'SiLU', a dict with a type, or None for none")
    if LAYERS.get(cfg['type']) is None:
        raise ConfigError(
            f'there is no activation {cfg["type"]!r}; of torch.nn there are {", ".join(ACTIVATIONS)}.'
            f'{nearest(cfg["type"], ACTIVATIONS)}'
        )
    return LAYERS.build(cfg)
