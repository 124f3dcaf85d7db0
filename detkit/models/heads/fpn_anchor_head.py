"""``FPNAnchorHead``: the base of heads that refine anchors of all levels of a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from detkit.protocols import BinaryClassLoss, BoxAssigner, BoxLoss, DeltaCoder
from detkit.registry import ASSIGNERS, CODERS, LOSSES, PRIOR_GENERATORS
from detkit.structures.gt_batch import GtBatch

from ..priors import BoxPriors
from ..wiring import with_wired
from .fpn_head import FPNHead


class FPNAnchorHead(FPNHead):
    """Base of heads that classify and refine anchors.

    A child makes ``forward`` return ``cls_logits``, a list of ``(B, A * C, h_i, w_i)``, and ``bbox_preds``, a list of
    ``(B, A * 4, h_i, w_i)``, and writes ``loss``.

    Args:
        num_classes, in_channels, strides, feat_channels, test_cfg, init_cfg: see ``FPNHead``.
        prior_generator: config of the anchors.
        assigner, bbox_coder, loss_cls, loss_bbox: configs of the parts.
        reg_decoded_bbox: True gives ``loss_bbox`` boxes in pixels; False the numbers of the coder.

    Attributes:
        num_shapes: A, anchors of a cell.
    """

    takes = {'assigner': BoxAssigner, 'bbox_coder': DeltaCoder, 'loss_cls': BinaryClassLoss, 'loss_bbox': BoxLoss}
    loss_reduction = 'mean'

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        feat_channels: int = 256,
        prior_generator: dict | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        reg_decoded_bbox: bool = False,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, feat_channels, test_cfg, init_cfg)
        self.prior_generator = PRIOR_GENERATORS.build(
            with_wired(
                prior_generator or dict(type='SizeRatioAnchorGenerator'), 'prior_generator', strides=self.strides
            )
        )
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.reg_decoded_bbox = reg_decoded_bbox

    @property
    def num_shapes(self) -> int:
        return self.prior_generator.num_shapes

    @property
    def class_rows(self) -> Mapping[str, tuple[int, int, int]]:
        """The predictor's channels, see ``BaseHead``."""
        return {'conv_cls': (self.num_shapes, 0, 0)}

    def _priors_of(self, priors: BoxPriors, index: Tensor | slice) -> Tensor:
        return priors.bboxes[index]

    def _scores(self, rows: dict[str, Tensor]) -> Tensor:
        return rows['cls_logits'].sigmoid()

    def _bboxes(self, priors: Tensor, rows: dict[str, Tensor]) -> Tensor:
        return self.bbox_coder.decode(priors, rows['bbox_preds'])

    def _bbox_loss(
        self, bbox_preds: Tensor, priors: Tensor, targets: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Return the loss of S predictions.

        Args:
            bbox_preds: ``(S, 4)``, raw.
            priors: ``(S, 4)`` xyxy.
            targets: ``(S, 4)`` xyxy, arbitrary where the weight is 0.
            weight: ``(S,)``.
            avg_factor: the divisor.
        """
        # A prior without an object has its own box as target, with weight 0: an empty box would be encoded as infinite.
        targets = torch.where((weight > 0).unsqueeze(1), targets, priors)
        if self.reg_decoded_bbox:
            return self.loss_bbox(self.bbox_coder.decode(priors, bbox_preds), targets, weight, avg_factor)
        return self.loss_bbox(bbox_preds, self.bbox_coder.encode(priors, targets), weight, avg_factor)


def objects_of(gt: GtBatch, gt_idx: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the boxes ``(B, P, 4)`` and labels ``(B, P)`` of an assignment ``(B, P)``; of none where it is negative.

    There, boxes and labels are arbitrary, the latter at least 0.
    """
    if not gt.max_instances:
        return torch.zeros((*gt_idx.shape, 4), dtype=dtype, device=gt_idx.device), torch.zeros_like(gt_idx)
    index = gt_idx.clamp(min=0)
    bboxes = gt.bboxes.to(dtype).gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    return bboxes, gt.labels.clamp(min=0).gather(1, index)


def filled(weight: Tensor) -> Tensor:
    """Return the indices of the S slots ``(S,)`` that count; all of them on a GPU, where counting would synchronise."""
    if weight.device.type == 'cpu':
        return weight.nonzero().squeeze(1)
    return torch.arange(len(weight), device=weight.device)
