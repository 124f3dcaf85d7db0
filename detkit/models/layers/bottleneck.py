"""``Bottleneck``: two convolutions and a shortcut around them."""

from __future__ import annotations

from torch import Tensor, nn

from .conv_module import ConvModule


class Bottleneck(nn.Module):
    """Two convolutions with an optional shortcut around both: ``(B, in, H, W) -> (B, out, H, W)``.

    Args:
        in_channels, out_channels: channels before and after.
        shortcut: add the input to the result (only where the channels agree).
        kernel_sizes: of the two convolutions; (1, 3) is Darknet's residual block and that of C3.
        expansion: channels between the two, as a fraction of ``out_channels``.
        act: activation of the convolutions, see ``ConvModule``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        shortcut: bool = True,
        kernel_sizes: tuple[int, int] = (3, 3),
        expansion: float = 1.0,
        act: nn.Module | str | dict | None = 'SiLU',
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expansion)
        self.conv1 = ConvModule(in_channels, hidden, kernel_sizes[0], act=act)
        self.conv2 = ConvModule(hidden, out_channels, kernel_sizes[1], act=act)
        self.shortcut = shortcut and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y
