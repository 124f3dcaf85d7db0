"""``TextC2f``: a stage block whose last part is weighted by how well each cell matches the best of some texts."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

from detkit.protocols import TextBlock
from detkit.registry import LAYERS

from ..base_module import with_children
from .conv_module import Activation, ConvModule
from .csp import C2f

_HEAD_CHANNELS = 32


class FixedGuide(nn.Module):
    """The result of a layer of texts for fixed texts.

    Args:
        value: ``(T, channels)``.
    """

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer('value', value.detach())

    def forward(self, texts: Tensor | None = None) -> Tensor:
        return self.value


class MaxSigmoidAttention(nn.Module):
    """Weight of each cell by its best matching text: ``(B, channels, H, W) -> (B, channels, H, W)``.

    ``conv(x) * sigmoid(max_j(x · guide_j) / sqrt(d) + bias)`` for each head of d channels, ``guide_j`` being the linear
    map of text j (YOLO-World, https://arxiv.org/abs/2401.17270, equation 1).

    Args:
        channels: shared by ``channels // 32`` heads, or as many fewer as divide them evenly, at least 1.
        text_dims: D, length of a text's embedding.
        norm: normalisation of the convolution, see ``ConvModule``.
    """

    def __init__(self, channels: int, text_dims: int, norm: str = 'BN') -> None:
        super().__init__()
        most = max(channels // _HEAD_CHANNELS, 1)
        self.num_heads = next(heads for heads in range(most, 0, -1) if channels % heads == 0)
        self.guide = nn.Linear(text_dims, channels)
        self.bias = nn.Parameter(torch.zeros(self.num_heads))
        self.conv = ConvModule(channels, channels, 3, act=None, norm=norm)

    def forward(self, x: Tensor, texts: Tensor | None) -> Tensor:
        """Weigh ``x``; the texts are ``(T, D)`` or, for each image its own, ``(B, T, D)``, None for a fixed guide."""
        # reshape, as the ONNX exporter takes the sizes of an unflattened map for constants
        batch, _, height, width = x.shape
        cells = x.reshape(batch, self.num_heads, -1, height * width)  # (B, heads, d, H * W)
        guide = self.guide(texts).unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)  # ([B,] heads, T, d)
        similarity = guide @ cells  # (B, heads, T, H * W)
        # amax is faster; for gradients it would keep the similarities, and max keeps the texts' indices
        best = similarity.max(2).values if torch.is_grad_enabled() else similarity.amax(2)  # (B, heads, H * W)
        best = best / sqrt(guide.shape[-1])
        weights = (best + self.bias.unsqueeze(-1)).sigmoid().reshape(batch, self.num_heads, 1, height, width)
        values = self.conv(x).reshape(batch, self.num_heads, -1, height, width)  # (B, heads, d, H, W)
        return (values * weights).flatten(1, 2)

    def folded(self, texts: Tensor) -> MaxSigmoidAttention:
        """Return the attention for fixed texts ``(T, D)``; it shares all other weights."""
        return with_children(self, guide=FixedGuide(self.guide(texts)))


@LAYERS.register_module()
class TextC2f(C2f, TextBlock):
    """``C2f`` with one part more, ``MaxSigmoidAttention`` of the last bottleneck's output, guided by texts.

    ::

        x ── 1x1 ─┬─ first half ──────────────────────────────────────────┐
                  └─ second half ─┬───────────────────────────────────────┤
                                  └─ bottleneck ─ … ─┬────────────────────┤ concat ── 1x1 ──
                                          texts ─────┴─ attention ────────┘

    (The T-CSPLayer of YOLO-World, https://arxiv.org/abs/2401.17270.)

    Args:
        in_channels, out_channels, num_blocks, shortcut, expansion, act, norm: see ``CSPBlock``.
        text_dims: D, length of a text's embedding.
    """

    extra_parts = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 1,
        shortcut: bool = False,
        expansion: float = 0.5,
        act: Activation = 'SiLU',
        norm: str = 'BN',
        text_dims: int = 512,
    ) -> None:
        super().__init__(in_channels, out_channels, num_blocks, shortcut, expansion, act, norm)
        self.attention = MaxSigmoidAttention(int(out_channels * expansion), text_dims, norm)

    def forward(self, x: Tensor, texts: Tensor | None = None) -> Tensor:
        """Return ``(B, out_channels, H, W)``; see ``MaxSigmoidAttention`` for the texts."""
        parts = self.parts(x)
        return self.out_conv(torch.cat((*parts, self.attention(parts[-1], texts)), dim=1))

    def folded(self, texts: Tensor) -> TextC2f:
        """Return the block for fixed texts ``(T, D)``, which takes none; it shares all other weights."""
        return with_children(self, attention=self.attention.folded(texts))
