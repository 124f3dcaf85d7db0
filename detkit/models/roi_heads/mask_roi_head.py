"""``MaskRoIHead``: predicts a mask of each class in regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.protocols import PixelMaskLoss
from detkit.registry import LOSSES, ROI_HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.ranks import shared_divisor

from ..heads.base_head import widened
from ..heads.mask_results import object_masks
from ..layers.plain_layers import is_plain_layer
from ..layers.towers import build_tower
from .base_roi_head import BaseRoIHead, RoISamples, init_relu_convs, join


@ROI_HEADS.register_module()
class MaskRoIHead(BaseRoIHead):
    """Head of masks: convolutions, a transposed convolution and a predictor (Mask R-CNN, arXiv:1703.06870).

    It learns from the regions with an object, the mask of the object's class alone. Channel 0 of the predictor is that
    of background, which nobody reads; it is there so that torchvision's weights fit.

    Args:
        num_classes, in_channels, strides, init_cfg: see ``BaseRoIHead``.
        roi_extractor: config of what cuts regions out of maps; masks are twice as wide and high as its result.
        num_convs, conv_channels, norm: 3x3 convolutions, their channels, and their normalisation (``'bn'`` or None).
        loss_mask: config of the loss; by default cross entropy, which is a focal loss with these numbers.
    """

    takes = {'loss_mask': PixelMaskLoss}
    default_parts = {'loss_mask': dict(type='MaskFocalLoss', alpha=None, gamma=0.0)}
    class_rows = {'conv_mask': (1, 1, 0)}

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        roi_extractor: dict | None = None,
        num_convs: int = 4,
        conv_channels: int = 256,
        norm: str | None = None,
        loss_mask: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        extractor = roi_extractor or dict(type='RoIAlignExtractor', out_size=14)
        super().__init__(num_classes, in_channels, strides, extractor, init_cfg)
        self.loss_mask = self.build_part(LOSSES, 'loss_mask', loss_mask, 4)
        self.convs = build_tower(self.in_channels, conv_channels, num_convs, norm)
        self.upsample = nn.ConvTranspose2d(conv_channels if num_convs else self.in_channels, conv_channels, 2, 2)
        self.conv_mask = nn.Conv2d(conv_channels, num_classes + 1, 1)
        init_relu_convs(self)

    def forward(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Return the logits ``(R, s, s)`` of one class for each region, in float32 or finer.

        Masks of the other classes, which nobody reads, are not computed: of a thousand classes they take gigabytes.

        Args:
            feats: a ``(B, in_channels, h_i, w_i)`` map for each level.
            bboxes: the regions ``(R_b, 4)`` of each image.
            labels: their classes ``(R,)``.
        """
        x = self.upsample(self.convs(self.features(feats, bboxes))).relu()  # (R, C, s, s)
        layer, rows = self.conv_mask, labels + 1
        if not is_plain_layer(layer, nn.Conv2d):  # an adapter, or somebody looks at it
            every = layer(x).flatten(2)  # (R, 1 + C, s * s)
            own = every.gather(1, rows[:, None, None].expand(-1, 1, every.shape[-1]))
            return widened(own.view(-1, *x.shape[-2:]))
        weight, bias = layer.weight[rows].flatten(1), layer.bias[rows]  # (R, C), (R,)
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # (R, C, s, s) -> (R, s * s, C), a view
        logits = torch.bmm(pixels, weight.unsqueeze(2)).squeeze(2).unflatten(1, x.shape[-2:])  # (R, s, s)
        return widened(logits) + widened(bias).view(-1, 1, 1)

    def loss(
        self, feats: Sequence[Tensor], samples: Sequence[RoISamples], gt: GtBatch, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """Return ``loss_mask``.

        Args:
            feats: a ``(B, in_channels, h_i, w_i)`` map for each level.
            samples: the regions of each image that the boxes are learnt from.
            gt: with masks, one for each object or as an index map.
            size: (H, W) of the batch, in pixels.

        Raises:
            ValueError: the batch has objects without masks.
        """
        from torchvision.ops import roi_align  # whose import takes as long as PyTorch's; a prediction needs none

        if gt.masks is None and gt.max_instances:
            raise ValueError(
                f'{type(self).__name__} learns masks, but the batch has none. Use a dataset that has outlines, and '
                'with_masks=True of Render; or leave out mask_head'
            )
        samples = [own.with_objects() for own in samples]
        objects = join(samples, gt.max_instances)
        labels = gt.labels.flatten()[objects]
        logits = self(feats, [own.bboxes for own in samples], labels)  # (R, s, s)
        avg_factor = shared_divisor(len(logits), logits)  # which every process has to compute
        if not len(logits):
            own = logits.flatten(1)
            return dict(loss_mask=self.loss_mask(own, own.detach(), avg_factor=avg_factor))
        masks = object_masks(gt, gt.flat_index)  # (N, h, w)
        number_of = torch.zeros_like(gt.labels.flatten())
        number_of[gt.flat_index] = torch.arange(len(gt.flat_index), device=objects.device)
        stride = max(round(size[0] / masks.shape[-2]), 1)
        regions = torch.cat([own.bboxes for own in samples]).to(logits.dtype)
        regions = torch.cat([number_of[objects].to(logits.dtype).unsqueeze(1), regions], 1)
        targets = roi_align(masks.to(logits.dtype).unsqueeze(1), regions, logits.shape[-1], 1 / stride)  # (R, 1, s, s)
        return dict(loss_mask=self.loss_mask(logits.flatten(1), targets.flatten(1), avg_factor=avg_factor))

    def decode(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
        """Return the probabilities ``(N, s, s)`` of the detections of each image, ``(N, 4)`` and ``(N,)``."""
        logits = self(feats, bboxes, torch.cat(list(labels)))
        return list(logits.sigmoid().split([len(image) for image in labels]))
