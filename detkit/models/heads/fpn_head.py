"""``FPNHead``: the base of dense heads whose layers all levels of a pyramid share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.structures.data_sample import DetDataSample

from ..postprocess.nms import Detections, batched_nms
from .base_head import stack_img_shapes, widened
from .dense_head import DenseHead

# Options of ``batched_nms`` that ``test_cfg`` passes on; ``nms_pre`` is for a level here, not for an image.
_KEYS = tuple(key for key in DenseHead.TEST_KEYS if key != 'nms_pre')
_NMS_PRE = 1000


class FPNHead(DenseHead):
    """Base of dense heads whose layers are the same for all levels, as those of RetinaNet, FCOS and an RPN.

    A child makes ``forward`` return ``cls_logits``, a list of ``(B, A * C, h_i, w_i)``, and other lists of maps, and
    writes ``loss``, ``_priors``, ``_scores`` and ``_bboxes``. Candidates are the best ones of each level; their boxes
    are cut off at the image's border before duplicates are suppressed.

    Args:
        num_classes, in_channels, strides, init_cfg: see ``DenseHead``. Incoming maps of other widths than
            ``feat_channels`` pass a 1x1 convolution first.
        feat_channels: width of the shared layers.
        test_cfg: arguments of ``batched_nms``; ``nms_pre`` (by default 1000) limits the candidates of each level.
    """

    has_whole_cells = False
    MULTI_LABEL = True
    RANKS = True
    num_shapes = 1  # A, predictions of a cell

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        feat_channels: int = 256,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, test_cfg, init_cfg)
        self.feat_channels = feat_channels
        self.input_convs = nn.ModuleList(
            nn.Identity() if width == feat_channels else nn.Conv2d(width, feat_channels, 1)
            for width in self.in_channels
        )

    def _inputs(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Return the incoming maps with ``feat_channels`` channels each."""
        return [conv(feat) for conv, feat in zip(self.input_convs, feats, strict=True)]

    def _rows(self, maps: Sequence[Tensor], width: int) -> list[Tensor]:
        """Return a row for each prediction: ``(B, A * width, h, w) -> (B, h * w * A, width)`` for each level."""
        return [level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, width) for level in maps]

    def _all_rows(self, preds: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
        """Return the rows of every level of all raw predictions, by their names."""
        count = self.num_shapes
        return {
            name: self._rows(maps, self.num_classes if name == 'cls_logits' else maps[0].shape[1] // count)
            for name, maps in preds.items()
        }

    def _level_priors(self, preds: dict[str, list[Tensor]]) -> Any:
        """Return the priors of the levels, in float32 or finer."""
        maps = preds['cls_logits']
        dtype = torch.promote_types(maps[0].dtype, torch.float32)
        return self.prior_generator([level.shape[-2:] for level in maps], maps[0].device, dtype)

    def _priors_of(self, priors: Any, index: Tensor | slice) -> Any:
        """Return some of the priors of all levels."""
        raise NotImplementedError

    def _scores(self, rows: dict[str, Tensor]) -> Tensor:
        """Return scores ``(..., P, C)`` of rows ``(..., P, width)`` by name."""
        raise NotImplementedError

    def _bboxes(self, priors: Any, rows: dict[str, Tensor]) -> Tensor:
        """Return boxes ``(..., P, 4)`` xyxy in pixels of the network's input, of rows ``(..., P, width)`` by name."""
        raise NotImplementedError

    def decode(self, preds: dict[str, list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``bboxes (B, P, 4)``, xyxy in pixels of the network's input, and ``scores (B, P, C)``.

        Scores that are not among the ``nms_pre`` best of their level are 0.

        Args:
            preds: the output of ``forward``.
            img_shapes: ``(B, 2)`` (h, w) of the images before padding, at whose borders boxes are cut off; None takes
                the size of the batch.
        """
        levels = self._all_rows(preds)
        scores = [_best_only(scores, self._nms_pre) for scores in self._scores_of(levels)]
        rows = _widened({name: torch.cat(parts, 1) for name, parts in levels.items()})
        bboxes = self._bboxes(self._priors_of(self._level_priors(preds), slice(None)), rows)
        return dict(bboxes=self._clipped(bboxes, preds, img_shapes), scores=torch.cat(scores, 1))

    def level_scores(self, preds: dict[str, list[Tensor]]) -> tuple[list[Tensor], int]:
        """Return the scores of each level, and how many of them ``decode`` leaves, see ``BaseHead``."""
        return self._scores_of(self._all_rows(preds)), self._nms_pre

    def _scores_of(self, levels: dict[str, list[Tensor]]) -> list[Tensor]:
        """Return the scores ``(B, P_i, C)`` of each level."""
        return [
            self._scores(_widened({name: rows[level] for name, rows in levels.items()}))
            for level in range(len(self.strides))
        ]

    @torch.no_grad()
    def predict(self, preds: dict[str, list[Tensor]], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return what ``results(decode(preds))`` does, but decode only what can be reported, which saves most of it."""
        device = preds['cls_logits'][0].device
        with torch.autocast(device.type, enabled=False):
            return self.results(self._decode_likely(preds, stack_img_shapes(metas, device)), metas)

    def _decode_likely(self, preds: dict[str, list[Tensor]], img_shapes: Tensor | None) -> dict[str, list[Tensor]]:
        """Return what ``decode`` does for the priors with a score above the threshold, a tensor an image."""
        score_thr = self.test_cfg.get('score_thr', 0.0)
        levels, priors = self._all_rows(preds), self._level_priors(preds)
        bboxes, scores = [], []
        for image in range(len(preds['cls_logits'][0])):
            first, image_scores, image_bboxes = 0, [], []
            for level in range(len(self.strides)):
                rows = _widened({name: parts[level][image] for name, parts in levels.items()})
                level_scores = self._scores(rows)  # (P, C)
                kept = (level_scores.amax(1) > score_thr).nonzero().squeeze(1)
                level_scores = _best_only(level_scores[kept].unsqueeze(0), self._nms_pre)[0]
                rows = {name: values[kept] for name, values in rows.items()}
                image_bboxes.append(self._bboxes(self._priors_of(priors, kept + first), rows))
                image_scores.append(level_scores)
                first += levels['cls_logits'][level].shape[1]
            shape = None if img_shapes is None else img_shapes[image]
            bboxes.append(self._clipped(torch.cat(image_bboxes), preds, shape))
            scores.append(torch.cat(image_scores))
        return dict(bboxes=bboxes, scores=scores)

    @property
    def _nms_pre(self) -> int:
        return self.test_cfg.get('nms_pre', _NMS_PRE)

    def _clipped(self, bboxes: Tensor, preds: dict[str, list[Tensor]], img_shapes: Tensor | None) -> Tensor:
        """Cut off boxes ``(..., P, 4)`` at the borders of the images ``(..., 2)``, or of the batch."""
        if img_shapes is None:
            height, width = (side * self.strides[0] for side in preds['cls_logits'][0].shape[-2:])
            return _joined(bboxes[..., 0::2].clamp(0, width), bboxes[..., 1::2].clamp(0, height))
        return clip_to_images(bboxes, img_shapes)

    def _suppress(self, bboxes: Sequence[Tensor], scores: Sequence[Tensor]) -> list[Detections]:
        return batched_nms(bboxes, scores, **self._options(_KEYS))


def clip_to_images(bboxes: Tensor, img_shapes: Tensor) -> Tensor:
    """Cut off boxes ``(..., P, 4)`` xyxy at the borders of images ``(..., 2)`` (h, w)."""
    height, width = img_shapes.to(bboxes.dtype).unsqueeze(-2).split(1, -1)  # (..., 1, 1)
    return _joined(bboxes[..., 0::2].clamp(min=0).minimum(width), bboxes[..., 1::2].clamp(min=0).minimum(height))


def _joined(x: Tensor, y: Tensor) -> Tensor:
    """Return boxes ``(..., P, 4)`` of both corners' coordinates ``(..., P, 2)``."""
    return torch.stack((x, y), -1).flatten(-2)


def _widened(rows: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: widened(values) for name, values in rows.items()}


def _best_only(scores: Tensor, count: int) -> Tensor:
    """Return scores ``(B, P, C)`` with 0 in place of all but the ``count`` best of an image."""
    flat = scores.flatten(1)
    if isinstance(flat.shape[1], int):
        if flat.shape[1] <= count:
            return scores
    else:  # a graph for images of any size: there may be fewer at another size, and scores are not negative
        flat = F.pad(flat, (0, count))
    least = flat.topk(count, 1).values[:, -1]
    return scores.where(scores >= least.view(-1, 1, 1), torch.zeros_like(scores))
