"""``TwoStageHead``: proposes regions, then classifies and refines them, and predicts masks or keypoints in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from detkit.registry import HEADS, ROI_HEADS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch

from ..postprocess.mask_pasting import paste_masks
from ..postprocess.nms import NMS_KEYS, batched_nms
from ..postprocess.rescale import points_to_original, to_original
from ..wiring import with_wired
from .base_head import BaseHead

_KEYS = tuple(key for key in NMS_KEYS if key not in ('nms_pre', 'multi_label'))


@HEADS.register_module()
class TwoStageHead(BaseHead):
    """Head of Faster R-CNN (arXiv:1506.01497), Mask R-CNN and Keypoint R-CNN (arXiv:1703.06870).

    ::

        maps ──┬── rpn_head ── proposals ──┐
               └───────────────────────────┴── bbox_head ── detections ──┬── mask_head ── masks
                                                                         └── keypoint_head ── keypoints

    ``forward`` runs the first stage; ``loss`` and ``decode`` run the second one on the regions that it proposes.

    Args:
        num_classes: C.
        in_channels, strides: those of the incoming maps, fine to coarse. Maps of different channels pass a 1x1
            convolution first.
        rpn_head: config of the first stage, ``RPNHead`` by default; its class is 'object'.
        bbox_head: config of what classifies and refines regions, ``BBoxRoIHead`` by default.
        mask_head, keypoint_head: configs of what looks at detections, such as ``MaskRoIHead`` and ``KeypointRoIHead``;
            None for none.
        keypoint_shape: (K, D) for ``keypoint_head``; wired from the data.
        feat_channels: width of the 1x1 convolutions.
        test_cfg: ``score_thr``, ``iou_thr``, ``max_per_img``, ``class_agnostic`` and ``classes`` of ``batched_nms``.
        init_cfg: mmengine's initialisation config.

    Attributes:
        provides: 'bbox', and 'segm' and 'keypoints' where there are heads for them.
    """

    loss_reduction = 'mean'
    added_parts = ('mask_head', 'keypoint_head')
    TEST_KEYS = _KEYS
    NO_EXPORT = 'the number of its regions depends on the image, in the middle of the network'

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        rpn_head: dict | None = None,
        bbox_head: dict | None = None,
        mask_head: dict | None = None,
        keypoint_head: dict | None = None,
        keypoint_shape: Sequence[int] | None = None,
        feat_channels: int = 256,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.require(in_channels=in_channels, strides=strides)
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.strides = tuple(strides)
        self.test_cfg = self.checked_test_cfg(test_cfg)
        equal = len(set(in_channels)) == 1
        self.input_convs = nn.ModuleList(() if equal else (nn.Conv2d(width, feat_channels, 1) for width in in_channels))
        width = in_channels[0] if equal else feat_channels
        wired = dict(in_channels=(width,) * len(strides), strides=self.strides)
        rpn_head = {'feat_channels': width, **(rpn_head or dict(type='RPNHead'))}
        self.rpn_head = HEADS.build(with_wired(rpn_head, 'rpn_head', **wired, num_classes=1))
        wired['num_classes'] = num_classes
        self.bbox_head = ROI_HEADS.build(with_wired(bbox_head or dict(type='BBoxRoIHead'), 'bbox_head', **wired))
        self.mask_head = mask_head and ROI_HEADS.build(with_wired(mask_head, 'mask_head', **wired))
        if keypoint_head and keypoint_shape is not None:
            wired['keypoint_shape'] = tuple(keypoint_shape)
        self.keypoint_head = keypoint_head and ROI_HEADS.build(with_wired(keypoint_head, 'keypoint_head', **wired))
        self.provides = ('bbox', *(['segm'] if mask_head else []), *(['keypoints'] if keypoint_head else []))

    @property
    def class_rows(self) -> Mapping[str, tuple[int, ...]]:
        """The rows of all heads of the second stage, see ``BaseHead``."""
        parts = dict(bbox_head=self.bbox_head, mask_head=self.mask_head, keypoint_head=self.keypoint_head)
        return {
            f'{name}.{layer}': rows
            for name, part in parts.items()
            if part is not None
            for layer, rows in part.class_rows.items()
        }

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return the first stage's raw predictions and the maps that the second one reads.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.

        Returns:
            What ``rpn_head`` returns, and ``feats``, a list of maps of equal channels.
        """
        if self.input_convs:
            feats = [conv(feat) for conv, feat in zip(self.input_convs, feats, strict=True)]
        return {**self.rpn_head(feats), 'feats': list(feats)}

    def loss(self, preds: dict[str, list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_rpn_cls``, ``loss_rpn_box``, and the losses of the heads of the second stage."""
        first, feats = self._parted(preds)
        objects = replace(gt, labels=gt.labels.clamp(max=0))  # of the one class 'object'
        losses = {name.replace('loss_', 'loss_rpn_'): loss for name, loss in self.rpn_head.loss(first, objects).items()}
        samples = self.bbox_head.sample(self.rpn_head.proposals(first, gt.img_shapes), gt)
        cls_logits, bbox_preds = self.bbox_head(feats, [own.bboxes for own in samples])
        with torch.autocast(cls_logits.device.type, enabled=False):
            losses |= self.bbox_head.loss(cls_logits, bbox_preds, samples, gt)
        if self.mask_head is not None:
            losses |= self.mask_head.loss(feats, samples, gt, self._size(feats))
        if self.keypoint_head is not None:
            losses |= self.keypoint_head.loss(feats, samples, gt)
        return losses

    def decode(self, preds: dict[str, list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return the detections, lists with a tensor for each image, best first, in pixels of the network's input.

        Args:
            preds: the output of ``forward``.
            img_shapes: ``(B, 2)`` (h, w) of the images before padding; None takes the size of the batch.

        Returns:
            ``bboxes (N, 4)``, ``scores (N,)``, ``labels (N,)``, and from their heads ``mask_probs (N, s, s)``
            inside the boxes, and ``keypoints (N, K, 3)``.
        """
        first, feats = self._parted(preds)
        if img_shapes is None:
            img_shapes = torch.tensor([self._size(feats)] * len(feats[0]), device=feats[0].device)
        proposals = self.rpn_head.proposals(first, img_shapes)
        bboxes, scores = self.bbox_head.decode(*self.bbox_head(feats, proposals), proposals, img_shapes)
        options = {name: value for name, value in self.test_cfg.items() if name in _KEYS}
        found = batched_nms(bboxes, scores, **options)
        decoded = {name: [getattr(own, name) for own in found] for name in ('bboxes', 'scores', 'labels')}
        if self.mask_head is not None:
            decoded['mask_probs'] = self.mask_head.decode(feats, decoded['bboxes'], decoded['labels'])
        if self.keypoint_head is not None:
            decoded['keypoints'] = self.keypoint_head.decode(feats, decoded['bboxes'])
        return decoded

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return detections in pixels of the original images, best first.

        Args:
            decoded: the output of ``decode``.
            metas: for each image ``matrix`` and ``ori_shape``, see ``DetDataSample``.
        """
        results = []
        for image, meta in enumerate(metas):
            matrix, ori_shape = meta['matrix'], meta['ori_shape']
            bboxes = to_original(decoded['bboxes'][image], matrix, ori_shape)
            instances = InstanceData(
                bboxes=bboxes.cpu(), scores=decoded['scores'][image].cpu(), labels=decoded['labels'][image].cpu()
            )
            if 'mask_probs' in decoded:
                whole = to_original(decoded['bboxes'][image], matrix, None)  # as the probabilities are of padding, too
                instances.masks = paste_masks(decoded['mask_probs'][image], whole, ori_shape)
            if 'keypoints' in decoded:
                keypoints = decoded['keypoints'][image]
                instances.keypoints = points_to_original(keypoints[..., :2], matrix, ori_shape).cpu()
                instances.keypoint_scores = keypoints[..., 2].cpu()
            sample = DetDataSample(metainfo=meta)
            sample.pred_instances = instances
            results.append(sample)
        return results

    def _parted(self, preds: dict[str, list[Tensor]]) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
        """Return the first stage's predictions, and the maps for the second one."""
        return {name: value for name, value in preds.items() if name != 'feats'}, preds['feats']

    def _size(self, feats: Sequence[Tensor]) -> tuple[int, int]:
        """Return (H, W) of the batch in pixels."""
        height, width = feats[0].shape[-2:]
        return height * self.strides[0], width * self.strides[0]
