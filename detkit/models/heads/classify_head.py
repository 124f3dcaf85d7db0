"""``ClassifyHead``: the base of heads that classify whole images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from detkit.protocols import ClassLoss
from detkit.registry import LOSSES
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError, DataError

from .base_head import BaseHead, widened


class ClassifyHead(BaseHead):
    """Base of classification heads: loss, training accuracy and predictions; a child adds ``forward``.

    Args:
        num_classes: C.
        in_channels: channels of the feature maps, fine to coarse, of which the last is read; wired from the component
            before.
        loss_cls: config of the loss; ``CrossEntropyLoss`` by default.
        test_cfg: ``classes``, the labels to choose among, None for all; tools may change it between calls. Keys that
            concern detection only are ignored.
        init_cfg: mmengine's initialisation config.
    """

    loss_reduction = 'mean'
    provides = ('label',)
    takes = {'loss_cls': ClassLoss}
    default_parts = {'loss_cls': dict(type='CrossEntropyLoss')}

    TEST_KEYS = ('classes',)

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        loss_cls: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.require(in_channels=in_channels)
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.test_cfg = dict(test_cfg or {})

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return raw predictions.

        Args:
            feats: feature maps, fine to coarse; the last is ``(B, in_channels[-1], h, w)``.
            padding_mask: unused, but part of every head's signature.

        Returns:
            ``cls_logits (B, C)``.
        """
        raise NotImplementedError

    def loss(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls``, the mean over the batch, and for the log ``top1``, the accuracy on the batch.

        Raises:
            DataError: the data have no class of the whole image.
        """
        if gt.class_labels is None:
            raise DataError(
                'a classifier needs gt.class_labels, a class of each whole image, which ImageFolderDataset '
                'gives; the dataset gives objects only'
            )
        logits = preds['cls_logits']
        with torch.autocast(logits.device.type, enabled=False):
            loss_cls = self.loss_cls(widened(logits), gt.class_labels)
        right = logits.detach().argmax(1) == gt.class_labels
        return dict(loss_cls=loss_cls, top1=right.float().mean())

    def decode(self, preds: dict[str, Tensor], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``scores (B, C)``, the probabilities of the classes."""
        return dict(scores=widened(preds['cls_logits']).softmax(1))

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return the probabilities and the most probable class of each image, on the CPU.

        The scores of classes that are not in ``test_cfg['classes']`` are 0; the other scores are unchanged.
        """
        scores = decoded['scores'].cpu()  # (B, C)
        chosen = self.test_cfg.get('classes')
        if chosen is not None:
            if not len(chosen):
                raise ConfigError(f'test_cfg.classes of {type(self).__name__} leaves no class to choose')
            left_out = torch.ones(self.num_classes, dtype=torch.bool)
            left_out[list(chosen)] = False
            scores = scores.masked_fill(left_out, 0)
        results = []
        for meta, image_scores in zip(metas, scores, strict=True):
            sample = DetDataSample(metainfo=meta)
            sample.pred_scores = image_scores
            sample.pred_label = int(image_scores.argmax())
            results.append(sample)
        return results
