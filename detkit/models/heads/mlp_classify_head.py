"""``MLPClassifyHead``: the coarsest feature map, pooled to a few cells, through linear layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import HEADS
from detkit.utils.errors import ConfigError

from ..layers import KeyedDropout
from .classify_head import ClassifyHead


@HEADS.register_module()
class MLPClassifyHead(ClassifyHead):
    """Classification head of average pooling to a grid of cells and linear layers; it reads only the coarsest map.

    ::

        feats[-1] ── pool (s x s) ── flatten (c·s·s) ── linear ── ReLU ── … ── dropout ── linear ── class logits (C)

    One cell and no hidden layer, the default, is global average pooling (Lin et al., https://arxiv.org/abs/1312.4400).
    A map that has ``pool_size`` cells is flattened without pooling; any other is pooled to them, as in VGG
    (https://arxiv.org/abs/1409.1556), so that images of every size fit the same weights.

    Args:
        num_classes, in_channels, loss_cls, test_cfg, init_cfg: see ``ClassifyHead``.
        pool_size: cells of the pooled map, a side or (h, w).
        hidden_channels: width of each hidden layer, in order.
        dropout: share of the last layer's input that training leaves out.

    Raises:
        ConfigError: a size, a number of channels or a share is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        pool_size: int | Sequence[int] = 1,
        hidden_channels: Sequence[int] = (),
        dropout: float = 0.0,
        loss_cls: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls, test_cfg, init_cfg)
        self.pool_size = (pool_size, pool_size) if isinstance(pool_size, int) else tuple(pool_size)
        if len(self.pool_size) != 2 or min(self.pool_size) < 1:
            raise ConfigError(f'MLPClassifyHead: pool_size is {pool_size}; it must be a side or (h, w), from 1 on.')
        if any(width < 1 for width in hidden_channels):
            raise ConfigError(f'MLPClassifyHead: hidden_channels {tuple(hidden_channels)} must be 1 or more each.')
        if not 0 <= dropout < 1:
            raise ConfigError(f'MLPClassifyHead: dropout is {dropout}; it must be in [0, 1).')
        widths = (self.in_channels[-1] * self.pool_size[0] * self.pool_size[1], *hidden_channels)
        self.hidden = nn.Sequential()
        for before, after in zip(widths, widths[1:], strict=False):
            self.hidden.append(nn.Linear(before, after))
            self.hidden.append(nn.ReLU())
        self.dropout = KeyedDropout(dropout)
        self.fc_cls = nn.Linear(widths[-1], num_classes)

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor]:
        feat = feats[-1]
        if tuple(feat.shape[-2:]) != self.pool_size:
            feat = _pooled(feat, self.pool_size)  # (B, c, h, w) -> (B, c, s, s)
        hidden = self.hidden(feat.flatten(1))  # (B, c, s, s) -> (B, c·s·s) -> (B, hidden)
        return dict(cls_logits=self.fc_cls(self.dropout(hidden)))


def _pooled(feat: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means ``(B, c, *size)`` of the cells of a map, which overlap where its sides are no multiples of them.

    ONNX has no operator for it, so that an exported graph multiplies by the shares of the pixels in each cell.
    """
    if not torch.onnx.is_in_onnx_export():
        return F.adaptive_avg_pool2d(feat, size)
    rows, columns = (
        _shares(int(side), cells).to(feat) for side, cells in zip(feat.shape[-2:], size, strict=True)
    )  # (s, h), (s, w)
    return rows @ feat @ columns.T


def _shares(side: int, cells: int) -> Tensor:
    """Return ``(cells, side)`` float32, the share of each pixel of a side in the mean of each cell."""
    pixels, start = torch.arange(side), torch.arange(cells).unsqueeze(1) * side
    inside = ((pixels >= start // cells) & (pixels < -(-(start + side) // cells))).float()
    return inside / inside.sum(1, keepdim=True)
