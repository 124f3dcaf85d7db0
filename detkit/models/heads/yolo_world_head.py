"""``YOLOWorldHead``: classes are texts, which the embedding of every cell is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import HEADS
from detkit.utils.errors import ConfigError

from ..base_module import with_children
from ..layers.conv_module import BN_EPS, BN_MOMENTUM
from ..layers.norm_silu import has_hooks
from ..layers.plain_layers import is_plain_layer
from .yolov8_head import YOLOv8Head

# Before anything is learnt: hardly any cell holds an object, and the factor of similarities.
_BIAS = -10.0
_SCALES = {'BN': -1.0, 'L2': log(1 / 0.07)}


class TextContrast(nn.Module):
    """Similarity of cells and texts: ``exp(logit_scale) * norm(cell) · text / |text| + bias``.

    (YOLO-World, https://arxiv.org/abs/2401.17270, equation 4.)

    Args:
        text_dims: D.
        norm: normalisation of the cells: 'BN' over the batch, as in the second version, or 'L2' to length 1.
    """

    def __init__(self, text_dims: int, norm: str = 'BN') -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(text_dims, eps=BN_EPS, momentum=BN_MOMENTUM) if norm == 'BN' else None
        self.logit_scale = nn.Parameter(torch.tensor(_SCALES[norm]))
        self.bias = nn.Parameter(torch.tensor([_BIAS]))

    def forward(self, cells: Tensor, texts: Tensor) -> Tensor:
        """Return logits ``(B, T, h, w)`` of embeddings ``(B, D, h, w)`` and texts ``(T, D)``."""
        cells = F.normalize(cells, dim=1) if self.norm is None else self.norm(cells)
        weight = F.normalize(texts, dim=-1) * self.logit_scale.exp()  # (T, D)
        return F.conv2d(cells, weight[..., None, None].to(cells.dtype), self.bias.to(cells.dtype).expand(len(weight)))

    def folded_conv(self, conv: nn.Conv2d, texts: Tensor) -> nn.Conv2d:
        """Return the 1x1 convolution that equals ``conv``, which makes the embeddings, and this, in evaluation."""
        assert self.norm is not None
        weight = (F.normalize(texts, dim=-1) * self.logit_scale.exp()).double()
        factor = self.norm.weight.double() * (self.norm.running_var.double() + self.norm.eps).rsqrt()
        shift = self.norm.bias.double() - self.norm.running_mean.double() * factor
        folded = nn.Conv2d(conv.in_channels, len(texts), 1).to(conv.weight)
        folded.weight.data.copy_((weight * factor @ conv.weight.double().flatten(1))[..., None, None])
        folded.bias.data.copy_(weight @ (factor * conv.bias.double() + shift) + self.bias.double())
        return folded


class FixedContrast(nn.Module):
    """A ``TextContrast`` (or what a user put in its place) with fixed texts ``(T, D)``."""

    def __init__(self, contrast: nn.Module, texts: Tensor) -> None:
        super().__init__()
        self.contrast = contrast
        self.register_buffer('texts', texts, persistent=False)

    def forward(self, cells: Tensor, texts: Tensor | None = None) -> Tensor:
        return self.contrast(cells, self.texts)


class FoldedContrast(nn.Module):
    """The place of a ``TextContrast`` whose texts are in the convolution before it."""

    def forward(self, cells: Tensor, texts: Tensor | None = None) -> Tensor:
        return cells


@HEADS.register_module()
class YOLOWorldHead(YOLOv8Head):
    """Head that compares the embedding of every cell with those of texts, one text a class.

    ::

        feature ─┬─ 3x3 ── 3x3 ── 1x1 ── embedding (D) ── normalisation ── · texts ── class logits (C)
                 └─ 3x3 ── 3x3 ── 1x1 ── distributions of left, top, right, bottom (4 * reg_max)

    (YOLO-World, https://arxiv.org/abs/2401.17270.) The number of texts of a call may differ from ``num_classes``.

    Args:
        num_classes: C, the classes of training.
        in_channels, strides, reg_max, bbox_bias, assigner, bbox_coder: see ``YOLOv8Head``.
        loss_cls, loss_bbox, loss_dfl, test_cfg, init_cfg: see there, too.
        text_dims: D, length of a text's embedding; wired from the detector's text encoder.
        embed_norm: normalisation of the cells' embeddings: 'BN', or 'L2' as in the first version.

    Raises:
        ConfigError: ``embed_norm`` is neither.
    """

    needs_texts = True

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        reg_max: int = 16,
        bbox_bias: float = 1.0,
        text_dims: int = 512,
        embed_norm: str = 'BN',
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_dfl: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        if embed_norm not in _SCALES:
            raise ConfigError(f"YOLOWorldHead: embed_norm is {embed_norm!r}; it must be 'BN' or 'L2'")
        self.text_dims = text_dims
        self.embed_norm = embed_norm
        super().__init__(
            num_classes,
            in_channels,
            strides,
            reg_max,
            bbox_bias=bbox_bias,
            assigner=assigner,
            bbox_coder=bbox_coder,
            loss_cls=loss_cls,
            loss_bbox=loss_bbox,
            loss_dfl=loss_dfl,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )

    def _build_branches(self) -> None:
        finest = self.in_channels[0]
        self.bbox_branches = self._branches(max(16, finest // 4, 4 * self.reg_max), 4 * self.reg_max)
        self.embed_branches = self._branches(finest, self.text_dims)
        self.contrasts = nn.ModuleList(TextContrast(self.text_dims, self.embed_norm) for _ in self.in_channels)

    def _init_biases(self) -> None:
        """Set the bias of the distances; that of the logits begins as ``TextContrast`` makes it."""
        for branch in self.bbox_branches:
            nn.init.constant_(branch[-1].bias, self.bbox_bias)

    def forward(
        self, feats: Sequence[Tensor], padding_mask: Tensor | None = None, texts: Tensor | None = None
    ) -> dict[str, Tensor | list[Tensor]]:
        """Return raw predictions.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.
            texts: ``(C, D)``, an embedding a class; None where they are folded into the head.

        Returns:
            ``cls_logits``, a list of ``(B, C, h_i, w_i)``; ``bbox_preds``, a list of ``(B, 4 * reg_max, h_i, w_i)``.

        Raises:
            ValueError: there are no texts.
        """
        if texts is None and self.needs_texts:
            raise ValueError(f'{type(self).__name__} needs texts (C, D), the embeddings of the classes')
        levels = zip(self.contrasts, self.embed_branches, feats, strict=True)
        return dict(
            cls_logits=[contrast(branch(feat), texts) for contrast, branch, feat in levels],
            bbox_preds=[branch(feat) for branch, feat in zip(self.bbox_branches, feats, strict=True)],
        )

    def folded(self, texts: Tensor) -> YOLOWorldHead:
        """Return the head for fixed texts ``(C, D)``, which takes none and whose classes they are, for prediction.

        It shares all other weights. A head with ``embed_norm='L2'`` is returned as it is: that is no linear operation.
        Where another layer is in place of one of those that would be one, such as an adapter, all are called.
        """
        if self.embed_norm != 'BN':
            return self
        branches, contrasts = [], []
        for branch, contrast in zip(self.embed_branches, self.contrasts, strict=True):
            if _can_fold(branch[-1], contrast):
                branch = nn.Sequential(*branch[:-1], contrast.folded_conv(branch[-1], texts))
                contrast = FoldedContrast()
            else:
                contrast = FixedContrast(contrast, texts)
            branches.append(branch)
            contrasts.append(contrast)
        folded = with_children(self, embed_branches=nn.ModuleList(branches), contrasts=nn.ModuleList(contrasts))
        folded.needs_texts = False
        return folded


def _can_fold(conv: nn.Module, contrast: nn.Module) -> bool:
    """Return whether a convolution and what follows do what they are made for, and nobody looks between them."""
    if type(contrast) is not TextContrast or has_hooks(contrast):
        return False
    return is_plain_layer(conv, nn.Conv2d) and is_plain_layer(contrast.norm, nn.BatchNorm2d)
