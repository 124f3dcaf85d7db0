"""``YOLOv8SegmentHead``: predicts the mask of each detection as a combination of an image's prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.structures import InstanceData
from torch import Tensor, nn

from detkit.protocols import PrototypeMaskLoss
from detkit.registry import HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, BoxMasks, PrototypeMasks
from detkit.utils.errors import ConfigError

from ..layers import BlockDeconv2d, ConvModule
from ..postprocess.mask_decoding import decode_masks
from ..postprocess.nms import Detections
from ..priors import PointPriors
from .yolov8_head import YOLOv8Head, slot_bboxes


@HEADS.register_module()
class YOLOv8SegmentHead(YOLOv8Head):
    """``YOLOv8Head`` with prototype masks at a quarter of the image's size and coefficients for them at each cell.

    Args:
        proto_channels: hidden channels of the prototype branch; the finest map's channels by default.
        num_protos: D, the number of prototypes.
        loss_mask: config of the loss.
        num_classes, in_channels, strides, **kwargs: see ``YOLOv8Head``. Its ``test_cfg`` also takes
            ``retina_masks``, see ``decode_masks``.
    """

    provides = ('bbox', 'segm')
    takes = {**YOLOv8Head.takes, 'loss_mask': PrototypeMaskLoss}
    default_parts = {**YOLOv8Head.default_parts, 'loss_mask': dict(type='ProtoMaskLoss', loss_weight=7.5)}
    TEST_KEYS = (*YOLOv8Head.TEST_KEYS, 'retina_masks')

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        proto_channels: int | None = None,
        num_protos: int = 32,
        loss_mask: dict | None = None,
        **kwargs,
    ) -> None:
        self.proto_channels = proto_channels
        self.num_protos = num_protos
        super().__init__(num_classes, in_channels, strides, **kwargs)
        self.loss_mask = self.build_part(LOSSES, 'loss_mask', loss_mask, num_protos)

    def _build_branches(self) -> None:
        super()._build_branches()
        finest = self.in_channels[0]
        self.coeff_branches = self._branches(max(finest // 4, self.num_protos), self.num_protos)
        self.proto = ProtoBranch(finest, self.proto_channels or finest, self.num_protos)

    def cell_preds(self, feats: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return the predictions of ``YOLOv8Head`` and ``mask_coeffs``, a list of ``(B, D, h_i, w_i)``."""
        preds = super().cell_preds(feats)
        preds['mask_coeffs'] = [branch(feat) for branch, feat in zip(self.coeff_branches, feats, strict=True)]
        return preds

    def image_preds(self, feats: Sequence[Tensor], for_loss: bool = False) -> dict[str, Tensor]:
        """Return ``mask_protos``, ``(B, D, h, w)`` with ``proto_stride`` input pixels per pixel."""
        return dict(mask_protos=self.proto(feats[0]))

    @property
    def proto_stride(self) -> float:
        """Input pixels per prototype pixel."""
        return self.strides[0] / 2

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of ``YOLOv8Head``, and ``loss_seg``.

        Raises:
            ConfigError: the masks of the batch are not of the prototypes' size.
        """
        if gt.masks is None:
            raise ValueError(
                f'{type(self).__name__} learns masks, but the batch has none. Let the pipeline draw them '
                '(Render(with_masks=True)), or use a detection head.'
            )
        drawn, learnt = tuple(gt.masks.shape[-2:]), tuple(preds['mask_protos'].shape[-2:])
        if drawn != learnt:
            raise ConfigError(
                f'{type(self).__name__}: masks are drawn as {drawn} (h, w) pixels, but prototypes are {learnt}, one '
                f'pixel for {self.proto_stride:g} of the image: write mask_stride={self.proto_stride:g}'
            )
        return super().loss(preds, gt)

    def _losses(
        self, flat: dict[str, Tensor], priors: PointPriors, assigned: AssignResult, gt: GtBatch
    ) -> dict[str, Tensor]:
        losses = super()._losses(flat, priors, assigned, gt)
        prior_idx, gt_idx = assigned.prior_idx.flatten(1), assigned.gt_idx.flatten(1)  # (B, M, K) -> (B, S)
        coeffs = flat['mask_coeffs'].gather(1, prior_idx.unsqueeze(-1).expand(-1, -1, self.num_protos))
        bboxes = slot_bboxes(gt, gt_idx).to(coeffs.dtype) / self.proto_stride
        masks = PrototypeMasks(coeffs, flat['mask_protos'])
        loss_seg = self.loss_mask(masks, BoxMasks(bboxes, gt.masks, gt_idx), assigned.valid.flatten(1))
        return dict(loss_box=losses.pop('loss_box'), loss_seg=loss_seg, **losses)

    def _decode_extras(self, flat: dict[str, Tensor], priors: PointPriors) -> dict[str, Tensor]:
        """Return ``mask_coeffs (B, P, D)`` and ``mask_protos (B, D, h, w)``."""
        return {name: flat[name] for name in ('mask_coeffs', 'mask_protos')}

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return the results of ``YOLOv8Head`` with ``masks`` (``InstanceMasks``)."""
        instances = super()._instances(decoded, image, kept, meta)
        instances.masks = decode_masks(
            decoded['mask_coeffs'][image, kept.prior_idx].cpu().numpy(),
            decoded['mask_protos'][image].cpu().numpy(),
            instances.bboxes.numpy(),
            meta['matrix'],
            meta['ori_shape'],
            self.proto_stride,
            self.test_cfg.get('retina_masks', True),
        )
        return instances


class ProtoBranch(nn.Module):
    """Branch of 3x3, transposed 2x2, 3x3 and 1x1 convolutions: ``(B, in, h, w) -> (B, num_protos, 2h, 2w)``."""

    def __init__(self, in_channels: int, hidden: int, num_protos: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(in_channels, hidden, 3)
        self.upsample = BlockDeconv2d(hidden, hidden, 2)
        self.conv2 = ConvModule(hidden, hidden, 3)
        self.conv3 = ConvModule(hidden, num_protos, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.upsample(self.conv1(x))))
