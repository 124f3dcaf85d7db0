"""``ConvModule``: convolution, batch normalisation, activation."""

from __future__ import annotations

from torch import Tensor, nn

from .activation import Activation, build_activation

# The YOLO family's settings of batch normalisation, of v3 to v8 alike but for a few older weight files.
BN_EPS = 1e-3
BN_MOMENTUM = 0.03


class ConvModule(nn.Module):
    """Convolution without bias, batch normalisation, activation: ``(B, in, H, W) -> (B, out, H', W')``.

    Args:
        in_channels, out_channels: channels before and after.
        kernel_size, stride, groups, dilation: of the convolution.
        padding: default keeps the size at stride 1 (``dilation * (kernel_size - 1) // 2``).
        act: the activation: a name such as ``'SiLU'``, ``dict(type='LeakyReLU', negative_slope=0.1)``, or a module;
            None for none.
        eps, momentum: of the batch normalisation.
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
    ) -> None:
        super().__init__()
        if padding is None:
            padding = dilation * (kernel_size - 1) // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=eps, momentum=momentum)
        self.act = build_activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))
