"""``YOLOv8ClassifyHead``: a convolution, the mean over all positions, a linear layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from detkit.registry import HEADS

from ..layers import ConvModule, KeyedDropout
from .classify_head import ClassifyHead


@HEADS.register_module()
class YOLOv8ClassifyHead(ClassifyHead):
    """Classification head of a convolution, the mean over all positions and a linear layer on the coarsest map.

    ::

        feats[-1] ── 1x1 (1280) ── mean ── dropout ── linear ── class logits (C)

    Args:
        num_classes, in_channels, loss_cls, test_cfg, init_cfg: see ``ClassifyHead``.
        hidden_channels: output channels of the convolution.
        dropout: share of the averaged features that training leaves out.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        hidden_channels: int = 1280,
        dropout: float = 0.0,
        loss_cls: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls, test_cfg, init_cfg)
        self.conv = ConvModule(self.in_channels[-1], hidden_channels, 1)
        self.dropout = KeyedDropout(dropout)
        self.fc_cls = nn.Linear(hidden_channels, num_classes)

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor]:
        pooled = self.conv(feats[-1]).mean((2, 3))  # (B, hidden, h, w) -> (B, hidden)
        return dict(cls_logits=self.fc_cls(self.dropout(pooled)))
