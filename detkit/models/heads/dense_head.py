"""``DenseHead``: the base of heads that predict at every cell of their feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch

from ..postprocess.nms import NMS_KEYS, Detections, batched_nms
from ..postprocess.rescale import to_original
from .base_head import BaseHead, widened


class DenseHead(BaseHead):
    """Base of dense heads: incoming maps, options of prediction, and the conversion of raw predictions to results.

    A child writes ``forward``, ``loss`` and ``decode``, which returns at least ``bboxes (B, P, 4)``, xyxy in pixels of
    the network's input, and ``scores (B, P, C)``.

    Args:
        num_classes: C.
        in_channels, strides: those of the feature maps, fine to coarse; wired from the component before.
        test_cfg: arguments of ``batched_nms``, which tools may change between calls; the others have their defaults.
        init_cfg: mmengine's initialisation config.
    """

    provides = ('bbox',)
    has_whole_cells = True
    TEST_KEYS = NMS_KEYS
    SUPPRESSION = 'iou'
    BBOXES = 'bboxes'  # the decoded tensor that is suppressed

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.require(in_channels=in_channels, strides=strides)
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.strides = tuple(strides)
        self.test_cfg = self.checked_test_cfg(test_cfg)

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor | list[Tensor]]:
        """Return raw predictions of ``(B, in_channels[i], h_i, w_i)`` maps; a list has a tensor for each level."""
        raise NotImplementedError

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_*``, scalars in float32 or finer."""
        raise NotImplementedError

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return detections in pixels of the original images, best first.

        Args:
            decoded: the output of ``decode``; boxes and scores may also be lists of a tensor an image.
            metas: for each image ``matrix`` and ``ori_shape``, see ``DetDataSample``.
        """
        results = []
        detections = self._suppress(decoded[self.BBOXES], decoded['scores'])
        for image, (kept, meta) in enumerate(zip(detections, metas, strict=True)):
            sample = DetDataSample(metainfo=meta)
            sample.pred_instances = self._instances(decoded, image, kept, meta)
            results.append(sample)
        return results

    def _suppress(self, bboxes: Sequence[Tensor], scores: Sequence[Tensor]) -> list[Detections]:
        return batched_nms(bboxes, scores, **self._options(NMS_KEYS))

    def _options(self, names: Sequence[str]) -> dict:
        """Return the entries of ``test_cfg`` with these names; tools may have set names that another head reads."""
        return {name: value for name, value in self.test_cfg.items() if name in names}

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return the results of one image, on the CPU."""
        bboxes = to_original(kept.bboxes, meta['matrix'], meta['ori_shape'])
        return InstanceData(bboxes=bboxes.cpu(), scores=kept.scores.cpu(), labels=kept.labels.cpu())

    def _flatten(self, preds: dict[str, Tensor | list[Tensor]]) -> dict[str, Tensor]:
        """Return each list of levels as one ``(B, P, channels)`` and each tensor as it is, in float32 or finer."""
        flat = {}
        for name, value in preds.items():
            if isinstance(value, list):
                # (B, C, h, w) -> (B, h * w, C), without a copy in channels_last memory
                value = torch.cat([level.flatten(2).transpose(1, 2) for level in value], 1)
            flat[name] = widened(value)
        return flat
