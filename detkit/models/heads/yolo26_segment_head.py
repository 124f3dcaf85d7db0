"""``YOLO26SegmentHead``: masks of prototypes that are made of all levels, without suppression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import MaskPointAssigner, PixelMaskLoss
from detkit.registry import HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates, PrototypeMasks
from detkit.utils.ranks import any_rank_has

from ..layers import ConvModule
from ..postprocess.top_k import TOP_KEYS
from ..priors import PointPriors
from .dual_head import DualHead
from .yolo26_head import DirectHead
from .yolov8_segment_head import YOLOv8SegmentHead


class DirectSegmentHead(YOLOv8SegmentHead, DirectHead):
    """``YOLOv8SegmentHead`` on ``DirectHead``, with prototypes made of all levels and a semantic branch beside them.

    ::

        finest ───────────────┐
        coarser ── 1x1 ── up ─┴─ sum ─┬─ 3x3 ── prototypes
                                      └─ 3x3 ── 3x3 ── 1x1 ── semantic logits (C), where losses are wanted

    The semantic branch learns which classes there are at each cell of the finest map, by two losses whose sum is
    ``loss_sem``.

    Args:
        loss_semantic, loss_semantic_dice: configs of the two.
        num_classes, in_channels, strides, **kwargs: see ``YOLOv8SegmentHead`` and ``DirectHead``.
    """

    takes = {
        **YOLOv8SegmentHead.takes,
        **DirectHead.takes,
        'assigner': MaskPointAssigner,
        'loss_semantic': PixelMaskLoss,
        'loss_semantic_dice': PixelMaskLoss,
    }
    default_parts = {
        **YOLOv8SegmentHead.default_parts,
        **DirectHead.default_parts,
        'assigner': dict(type='MaskTaskAlignedAssigner'),
        # With gamma 0 the focal loss is the binary cross entropy.
        'loss_semantic': dict(type='MaskFocalLoss', alpha=None, gamma=0.0, loss_weight=3.75),
        'loss_semantic_dice': dict(type='MaskDiceLoss', loss_weight=3.75),
    }

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        loss_semantic: dict | None = None,
        loss_semantic_dice: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, **kwargs)
        self.loss_semantic = self.build_part(LOSSES, 'loss_semantic', loss_semantic)
        self.loss_semantic_dice = self.build_part(LOSSES, 'loss_semantic_dice', loss_semantic_dice)

    def _build_branches(self) -> None:
        super()._build_branches()
        finest = self.in_channels[0]
        self.level_sum = LevelSum(self.in_channels)
        self.proto_in = ConvModule(finest, finest, 3)
        self.semantic_cls = nn.Sequential(
            ConvModule(finest, finest, 3), ConvModule(finest, finest, 3), nn.Conv2d(finest, self.num_classes, 1)
        )

    def image_preds(self, feats: Sequence[Tensor], for_loss: bool = False) -> dict[str, Tensor]:
        """Return ``mask_protos``, and for losses ``semantic_logits``, ``(B, C, h, w)`` at the finest map's cells."""
        total = self.level_sum(feats)
        preds = dict(mask_protos=self.proto(self.proto_in(total)))
        if for_loss:
            preds['semantic_logits'] = self.semantic_cls(total)
        return preds

    def _candidates(self, flat: dict[str, Tensor], priors: PointPriors) -> Candidates:
        masks = PrototypeMasks(flat['mask_coeffs'].detach(), flat['mask_protos'].detach())
        return super()._candidates(flat, priors)._replace(masks=masks)

    def _losses(
        self, flat: dict[str, Tensor], priors: PointPriors, assigned: AssignResult, gt: GtBatch
    ) -> dict[str, Tensor]:
        """Return the losses of ``YOLOv8SegmentHead`` and ``DirectHead``, and ``loss_sem``.

        As in ultralytics, a batch without objects gives no ``loss_sem``; images without them in other batches do. The
        batch is that of all processes.
        """
        losses = super()._losses(flat, priors, assigned, gt)
        logits = flat['semantic_logits']
        targets = semantic_targets(gt, self.num_classes, logits.shape[-2:]).to(logits.dtype)
        # A mask for each class of each image: (B, C, h, w) -> (B * C, h * w)
        logits, targets = logits.flatten(0, 1).flatten(1), targets.flatten(0, 1).flatten(1)
        loss_sem = self.loss_semantic(logits, targets) + self.loss_semantic_dice(logits, targets)
        return dict(**losses, loss_sem=loss_sem * any_rank_has(gt.num_instances, logits))


@HEADS.register_module()
class YOLO26SegmentHead(DualHead, DirectSegmentHead):
    """``YOLO26Head`` with masks (https://arxiv.org/abs/2606.03748); both assignments share the prototypes.

    The arguments are those of ``DualHead`` and ``DirectSegmentHead``. Its ``test_cfg`` also takes ``retina_masks``, see
    ``decode_masks``.
    """

    single = DirectSegmentHead
    shared_parts = ('level_sum', 'proto_in', 'proto', 'semantic_cls')
    takes = {**DirectSegmentHead.takes, 'one_assigner': MaskPointAssigner}
    default_parts = {
        **DirectSegmentHead.default_parts,
        'one_assigner': dict(type='MaskTaskAlignedAssigner', topk=7, keep=1),
    }
    TEST_KEYS = (*TOP_KEYS, 'retina_masks')


class LevelSum(nn.Module):
    """Sum of the finest map and the coarser ones, which a 1x1 convolution brings to its channels, enlarged to its size.

    Args:
        in_channels: those of the maps, fine to coarse.
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(ConvModule(channels, in_channels[0], 1) for channels in in_channels[1:])

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Return ``(B, in_channels[0], h, w)`` with the size of the finest map."""
        total = feats[0]
        for conv, feat in zip(self.convs, feats[1:], strict=True):
            total = total + F.interpolate(conv(feat), feats[0].shape[-2:], mode='nearest')
        return total


def semantic_targets(gt: GtBatch, num_classes: int, size: Sequence[int]) -> Tensor:
    """Return ``(B, C, h, w)`` bool: whether there is an object of the class; where objects overlap, as the masks say.

    Args:
        gt: ground truth with masks.
        num_classes: C.
        size: (h, w), to which the masks are resized, each pixel taking the nearest one's value.
    """
    masks = gt.masks
    if masks.dim() == 4:  # (B, M, H, W)
        masks = F.interpolate(masks.float(), size, mode='nearest')
        classes = F.one_hot(gt.labels.clamp(min=0), num_classes) * gt.valid.unsqueeze(-1)  # (B, M, C)
        return torch.einsum('bmc,bmhw->bchw', classes.to(masks.dtype), masks) > 0
    numbers = F.interpolate(masks.unsqueeze(1).float(), size, mode='nearest').squeeze(1).long()  # (B, h, w)
    # Class C stands for the background.
    classes = F.pad(gt.labels, (1, 0), value=num_classes).gather(1, numbers.flatten(1)).view_as(numbers)
    targets = masks.new_zeros(len(masks), num_classes + 1, *size, dtype=torch.bool)
    return targets.scatter_(1, classes.unsqueeze(1), True)[:, :num_classes]
