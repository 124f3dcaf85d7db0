"""``BaseRoIHead``: the base of heads that look at regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from detkit.registry import ROI_EXTRACTORS

from ..base_module import BaseModule
from ..heads.base_head import BaseHead
from ..wiring import with_wired

# B images of at most M objects, R regions of all images, C classes.


class RoISamples(NamedTuple):
    """The regions of one image from which the second stage learns.

    Attributes:
        bboxes: ``(R, 4)`` xyxy in pixels of the network's input.
        gt_idx: ``(R,)`` int64, the object of each, -1 for background.
    """

    bboxes: Tensor
    gt_idx: Tensor

    def with_objects(self) -> RoISamples:
        """Return the regions that have an object."""
        chosen = (self.gt_idx >= 0).nonzero().squeeze(1)
        return RoISamples(self.bboxes[chosen], self.gt_idx[chosen])


class BaseRoIHead(BaseModule):
    """Base of heads that look at regions; ``TwoStageHead`` gives them their incoming maps.

    Args:
        num_classes: C.
        in_channels, strides: those of the incoming maps, whose channels are equal.
        roi_extractor: config of what cuts regions out of maps.
        init_cfg: mmengine's initialisation config.
    """

    takes: ClassVar[Mapping[str, type]] = {}
    default_parts: ClassVar[Mapping[str, dict]] = {}
    # Layers whose rows belong to classes, see ``BaseHead``.
    class_rows: Mapping[str, tuple[int, ...]] = {}
    build_part = BaseHead.build_part

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None,
        strides: Sequence[int] | None,
        roi_extractor: dict,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        title = type(self).__name__
        if in_channels is None or strides is None:
            raise ValueError(f'{title} needs in_channels and strides. TwoStageHead fills them in.')
        if len(set(in_channels)) != 1:
            raise ValueError(
                f'{title} needs maps with equal channels, found {tuple(in_channels)}; a neck such as FPN makes them so'
            )
        self.num_classes = num_classes
        self.in_channels = in_channels[0]
        self.roi_extractor = ROI_EXTRACTORS.build(with_wired(roi_extractor, 'roi_extractor', strides=tuple(strides)))

    def features(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> Tensor:
        """Return the features ``(R, in_channels, s, s)`` of regions, given for each image as ``(R_b, 4)``."""
        features = self.roi_extractor(feats, bboxes)
        return features.to(next(self.parameters()).dtype)


def join(samples: Sequence[RoISamples], max_instances: int) -> Tensor:
    """Return the objects ``(R,)`` of all images' samples as indices into the flattened ``(B, M)``; -1 stays."""
    indices = [
        torch.where(own.gt_idx >= 0, own.gt_idx + image * max_instances, own.gt_idx)
        for image, own in enumerate(samples)
    ]
    return torch.cat(indices)


def init_relu_convs(module: nn.Module) -> None:
    """Initialise the weights of all convolutions for a ReLU behind them (arXiv:1502.01852); biases become 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
