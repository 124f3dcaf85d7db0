"""Overlaps and matches of predictions and objects, and average precision of any choice of images from the matches."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation.average_precision import FALSE, IGNORED, TRUE, average_precision_of_counts
from detkit.evaluation.coco_backends import coco_dataset
from detkit.evaluation.instance_columns import gather_columns
from detkit.structures.data_sample import DetDataSample
from detkit.structures.keypoints import default_sigmas
from detkit.structures.rotated_iou import pairwise_rotated_iou
from detkit.utils.errors import ConfigError, nearest

KIND_NAMES = {'bbox': 'box', 'segm': 'mask', 'keypoints': 'keypoint', 'rbbox': 'rotated box'}
OVERLAP_KINDS = tuple(KIND_NAMES)
_MAX_DETS = {'bbox': 100, 'segm': 100, 'keypoints': 20, 'rbbox': 100_000}  # DOTA limits nothing
_AREA_NAMES = {'all': 'all', 'small': 's', 'medium': 'm', 'large': 'l'}
_IMAGES_AT_ONCE = 500  # pycocotools takes kilobytes a prediction
_WEIGHTS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class ClassMatches:
    """One class's D predictions in all I images, best first.

    Attributes:
        images: ``(D,)`` int32, the image of each prediction.
        indices: ``(D,)`` int32, its index among the predictions of its image.
        scores: ``(D,)`` descending.
        found: ``(A, T, D)`` int8, ``TRUE``, ``FALSE`` or ``IGNORED`` for each range of areas and each overlap.
        matched: ``(T, D)`` int32, index of the matched object in its image for the range of all areas, -1 for none.
        objects: ``(A, I)`` int32, objects to find in each image.
    """

    images: np.ndarray
    indices: np.ndarray
    scores: np.ndarray
    found: np.ndarray
    matched: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Matches:
    """All classes' matches by COCO's rules.

    Attributes:
        kind: the kind of overlap, one of ``OVERLAP_KINDS``.
        classes: names, by label.
        iou_thrs: ``(T,)`` the least overlaps.
        areas: A names of ranges of areas.
        per_class: matches of each label.
        num_images: I.
    """

    kind: str
    classes: tuple[str, ...]
    iou_thrs: np.ndarray
    areas: tuple[str, ...]
    per_class: tuple[ClassMatches, ...]
    num_images: int


def match(
    results: Sequence[DetDataSample],
    classes: Sequence[str],
    kind: str = 'bbox',
    iou_thrs: Sequence[float] | None = None,
    sigmas: Sequence[float] | None = None,
    by_area: bool = True,
    max_dets: int | None = None,
) -> Matches:
    """Match predictions and objects of the same class as pycocotools does, crowd and area rules included.

    Args:
        results: evaluated samples, one of each image.
        classes: names of the labels.
        kind: the overlap: of boxes, masks, keypoints (object keypoint similarity) or rotated boxes (exact).
        iou_thrs: least overlaps; .50, .55 … .95 when left out.
        sigmas: OKS sigmas of the keypoints; COCO's for 17 and 1 / K for K others when left out.
        by_area: False for the range of all areas alone, which takes a quarter of the time.
        max_dets: predictions of an image and class that count; if left out 100, by keypoints 20, of rotated boxes all.

    Raises:
        ConfigError: an unknown kind, or results that hold nothing of it.
    """
    if kind not in OVERLAP_KINDS:
        known = ', '.join(OVERLAP_KINDS)
        raise ConfigError(f'the kind of overlap is {kind!r}, but must be one of {known}.{nearest(kind, OVERLAP_KINDS)}')
    if kind == 'keypoints' and sigmas is None:
        counts = [r.pred_instances.keypoints.shape[1] for r in results if 'keypoints' in r.pred_instances]
        sigmas = default_sigmas(max(counts, default=0))
    parts: list[list[ClassMatches]] = [[] for _ in classes]
    for start in range(0, max(len(results), 1), _IMAGES_AT_ONCE):
        chosen = results[start : start + _IMAGES_AT_ONCE]
        evaluation = _evaluate(chosen, len(classes), kind, iou_thrs, sigmas, by_area, max_dets)
        params = evaluation.params
        # evalImgs is ordered by class, then area, then image.
        cells = np.empty((len(classes), len(params.areaRng), len(chosen)), object)
        cells.flat = evaluation.evalImgs
        # Annotations are numbered from 1 through all images.
        starts = np.cumsum([1, *(len(result.gt_instances.labels) for result in chosen)])
        for label, own in enumerate(parts):
            own.append(_class_part(cells[label], label, chosen, starts, start, len(params.iouThrs)))
    areas = tuple(_AREA_NAMES[name] for name in params.areaRngLbl)
    return Matches(kind, tuple(classes), np.asarray(params.iouThrs), areas, tuple(map(_joined, parts)), len(results))


def _evaluate(
    results: Sequence,
    class_count: int,
    kind: str,
    iou_thrs: Sequence[float] | None,
    sigmas: Sequence[float] | None,
    by_area: bool,
    max_dets: int | None,
) -> COCOeval:
    iou_type = 'bbox' if kind == 'rbbox' else kind
    field = {'bbox': 'bboxes', 'segm': 'masks', 'keypoints': 'keypoints', 'rbbox': 'rbboxes'}[kind]
    if any(field not in result.pred_instances for result in results):
        raise ConfigError(f"the results hold no '{kind}'; evaluate the model with a metric of that kind")
    upright = [_upright(result) for result in results] if kind == 'rbbox' else results
    shapes = [sample.ori_shape for sample in upright]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for predictions in (False, True):
            side = COCO()
            columns = gather_columns(upright, predictions, iou_type)
            side.dataset = coco_dataset(columns, shapes, class_count)
            side.createIndex()
            sides.append(side)
        evaluation = (_RotatedEval if kind == 'rbbox' else COCOeval)(*sides, iou_type)
        params = evaluation.params
        if iou_thrs is not None:
            params.iouThrs = np.asarray(iou_thrs, np.float64)
        if not by_area:
            params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
        params.maxDets = [max_dets or _MAX_DETS[kind]]
        if kind == 'keypoints':
            params.kpt_oks_sigmas = np.asarray(sigmas)
        if kind == 'rbbox':
            evaluation.results = results
        evaluation.evaluate()
    return evaluation


class _RotatedEval(COCOeval):
    """pycocotools' matching on the overlaps of rotated boxes (the method's name and arguments are its own)."""

    results: Sequence[DetDataSample]

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray | list:
        gt, pred = self.results[imgId - 1].gt_instances, self.results[imgId - 1].pred_instances
        rows = np.flatnonzero(pred.labels == catId)
        columns = np.flatnonzero(gt.labels == catId)
        if not len(rows) or not len(columns):
            return []
        rows = rows[np.argsort(-pred.scores[rows], kind='mergesort')][: self.params.maxDets[-1]]
        ours, theirs = torch.from_numpy(pred.rbboxes[rows]), torch.from_numpy(gt.rbboxes[columns])
        return pairwise_rotated_iou(ours, theirs, torch.ones(len(rows), len(columns), dtype=torch.bool)).numpy()


def _upright(sample: DetDataSample) -> DetDataSample:
    """Convert the rotated boxes of a sample to the form that ``gather_columns`` takes."""
    gt, pred = sample.gt_instances, sample.pred_instances
    upright = DetDataSample(metainfo=dict(ori_shape=(0, 0)))
    upright.gt_instances = InstanceData(
        bboxes=np.zeros((len(gt.labels), 4)),
        labels=gt.labels,
        ignored=gt.ignored,
        areas=gt.rbboxes[:, 2] * gt.rbboxes[:, 3],
    )
    upright.pred_instances = InstanceData(bboxes=_square(pred.rbboxes), labels=pred.labels, scores=pred.scores)
    return upright


def _square(rbboxes: np.ndarray) -> np.ndarray:
    """Return upright boxes of the same areas, since pycocotools computes a prediction's area from its box."""
    sides = np.sqrt(rbboxes[:, 2] * rbboxes[:, 3])[:, None]
    return np.concatenate([np.zeros((len(rbboxes), 2)), np.repeat(sides, 2, 1)], 1)


def _class_part(
    cells: np.ndarray, label: int, results: Sequence, starts: np.ndarray, first: int, num_thrs: int
) -> ClassMatches:
    """Return a class's matches, image by image from the ``first`` on; ``cells (A, I)`` are pycocotools' or None."""
    num_areas, num_images = cells.shape
    objects = np.zeros((num_areas, num_images), np.int32)
    images, indices, scores = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)], [np.zeros(0)]
    found = [np.zeros((num_areas, num_thrs, 0), np.int8)]
    matched = [np.zeros((num_thrs, 0), np.int32)]
    for image in range(num_images):
        whole = cells[0, image]
        if whole is None:
            continue
        objects[:, image] = [np.count_nonzero(np.asarray(cell['gtIgnore']) == 0) for cell in cells[:, image]]
        count = len(whole['dtIds'])
        if not count:
            continue
        own = np.flatnonzero(results[image].pred_instances.labels == label)
        # pycocotools' own order: by score, the earlier first where equal
        own = own[np.argsort(-results[image].pred_instances.scores[own], kind='mergesort')][:count]
        images.append(np.full(count, first + image, np.int32))
        indices.append(own.astype(np.int32))
        scores.append(np.asarray(whole['dtScores'], np.float64))
        ids = np.stack([cell['dtMatches'] for cell in cells[:, image]])  # (A, T, count)
        ignored = np.stack([cell['dtIgnore'] for cell in cells[:, image]])
        found.append(np.where(ignored, IGNORED, np.where(ids > 0, TRUE, FALSE)).astype(np.int8))
        matched.append(np.where(ids[0] > 0, ids[0] - starts[image], -1).astype(np.int32))
    return ClassMatches(
        np.concatenate(images),
        np.concatenate(indices),
        np.concatenate(scores),
        np.concatenate(found, 2),
        np.concatenate(matched, 1),
        objects,
    )


def _joined(parts: Sequence[ClassMatches]) -> ClassMatches:
    """Join the matches of several sets of images, best first."""

    def join(arrays: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(arrays), -1)

    scores = join(part.scores for part in parts)
    order = np.argsort(-scores, kind='mergesort')
    return ClassMatches(
        join(part.images for part in parts)[order],
        join(part.indices for part in parts)[order],
        scores[order],
        join(part.found for part in parts)[..., order],
        join(part.matched for part in parts)[:, order],
        join(part.objects for part in parts),
    )


def average_precisions(matches: ClassMatches, counts: np.ndarray | None = None) -> np.ndarray:
    """Compute COCO's average precision (101 recalls) of one class on weighted images.

    Args:
        matches: matches of the class.
        counts: ``(R, I)`` int, how often each image counts in each of R choices; once each when left out.

    Returns:
        ``(R, A, T)``, -1 where a choice holds no object of the class.
    """
    if counts is None:
        counts = np.ones((1, matches.objects.shape[1]), np.int32)
    rows = max(1, _WEIGHTS_AT_ONCE // max(1, len(matches.images)))
    return np.concatenate([_precisions(matches, counts[start : start + rows]) for start in range(0, len(counts), rows)])


def _precisions(matches: ClassMatches, counts: np.ndarray) -> np.ndarray:
    num_areas, num_thrs, _ = matches.found.shape
    holding = np.flatnonzero(matches.objects[0])  # the range of all areas has what any range has
    objects = counts[:, holding] @ matches.objects[:, holding].T  # (R, A)
    result = np.where(objects > 0, 0.0, -1.0)[:, :, None].repeat(num_thrs, 2)
    for area in range(num_areas):
        real = np.flatnonzero(objects[:, area])
        kept = np.flatnonzero((matches.found[area] != IGNORED).any(0))
        if not len(real) or not len(kept):
            continue
        weights = counts[real[:, None], matches.images[kept]]  # (R', D')
        all_seen = np.cumsum(weights, 1, dtype=np.int32)
        for thr in range(num_thrs):
            found = matches.found[area, thr, kept]
            # Only true positives raise recall, so precision is looked up at them alone.
            hits = np.flatnonzero(found == TRUE)
            if not len(hits):
                continue
            seen, ignored = all_seen[:, hits], np.flatnonzero(found == IGNORED)
            if len(ignored):  # here, though not at every overlap
                passed = np.cumsum(weights[:, ignored], 1, dtype=np.int32)
                before = np.searchsorted(ignored, hits)
                seen[:, before > 0] -= passed[:, before[before > 0] - 1]
            true = np.cumsum(weights[:, hits], 1, dtype=np.int32)
            result[real, area, thr] = average_precision_of_counts(true, seen, objects[real, area])
    return result


def uncounted(gt: InstanceData, kind: str) -> np.ndarray:
    """Return which objects count neither as missed nor as a mistake to find, ``(N,)`` bool.

    They are crowds and difficult objects and, where keypoints are compared, objects without a visible one.
    """
    if kind != 'keypoints' or not len(gt.labels):
        return gt.ignored
    return gt.ignored | ~(gt.keypoints[..., 2] > 0).any(1)


def overlaps_of(sample: DetDataSample, kind: str, sigmas: Sequence[float] | None = None) -> np.ndarray:
    """Compute overlaps in [0, 1], ``(D, N)`` float64; with an ignored object, the share of the prediction inside it.

    Args:
        sample: evaluated, of one image.
        kind: 'bbox', 'segm', 'keypoints' (object keypoint similarity) or 'rbbox'.
        sigmas: OKS sigmas of the keypoints, see ``match``.
    """
    gt, pred = sample.gt_instances, sample.pred_instances
    shape = len(pred.labels), len(gt.labels)
    if 0 in shape:
        return np.zeros(shape)
    if kind == 'rbbox':
        ours, theirs = torch.from_numpy(pred.rbboxes), torch.from_numpy(gt.rbboxes)
        return pairwise_rotated_iou(ours, theirs, torch.ones(shape, dtype=torch.bool)).double().numpy()
    if kind == 'keypoints':
        return _keypoint_similarity(gt, pred, sigmas)
    crowd = gt.ignored.astype(int).tolist()
    if kind == 'segm':
        return np.asarray(coco_mask.iou(pred.masks, gt.masks, crowd), np.float64).reshape(shape)
    ours, theirs = (
        np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], 1).astype(np.float64) for b in (pred.bboxes, gt.bboxes)
    )
    return np.asarray(coco_mask.iou(ours, theirs, crowd), np.float64).reshape(shape)


def _keypoint_similarity(gt: InstanceData, pred: InstanceData, sigmas: Sequence[float] | None) -> np.ndarray:
    """Compute COCO's object keypoint similarity: the mean over visible points of exp(-d² / (2 area (2 sigma)²)).

    Of an object without a visible point d is each point's distance from the box, enlarged by its size on each side.
    """
    count = gt.keypoints.shape[1]
    variances = (2 * np.asarray(default_sigmas(count) if sigmas is None else sigmas)) ** 2
    visible = gt.keypoints[:, :, 2] > 0
    labelled = visible.any(1)[None, :, None, None]
    low, high = gt.bboxes[None, :, None, :2], gt.bboxes[None, :, None, 2:]
    found = pred.keypoints[:, None, :, :2]
    outside = np.maximum(2 * low - high - found, 0) + np.maximum(found - (2 * high - low), 0)
    offsets = np.where(labelled, found - gt.keypoints[None, :, :, :2], outside)  # (D, N, K, 2)
    areas = gt.areas[None, :, None] + np.spacing(1)
    similarity = np.exp(-(offsets**2).sum(-1) / (2 * areas * variances))
    visible |= ~visible.any(1, keepdims=True)
    return (similarity * visible).sum(-1) / np.maximum(visible.sum(-1), 1)
