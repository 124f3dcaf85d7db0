"""Which predictions match which objects, kept so that average precision of any choice of images is quickly had."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation.average_precision import FALSE, IGNORED, TRUE
from detkit.evaluation.coco_format import ImageResult, to_coco
from detkit.evaluation.rotated_format import RotatedResult
from detkit.structures.keypoints import default_sigmas
from detkit.structures.rotated_iou import pairwise_rotated_iou
from detkit.utils.errors import ConfigError, nearest

KINDS = ('bbox', 'segm', 'keypoints', 'rbbox')
MAX_DETS = {'keypoints': 20}
_DEFAULT_MAX_DETS = 100
_AREA_NAMES = {'all': 'all', 'small': 's', 'medium': 'm', 'large': 'l'}
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class ClassMatches:
    """One class's D predictions in all I images, best first.

    Attributes:
        images: ``(D,)`` int64, the image of each prediction.
        places: ``(D,)`` int64, its place among its image's predictions.
        scores: ``(D,)`` descending.
        found: ``(A, T, D)`` int8, ``TRUE``, ``FALSE`` or ``IGNORED`` for each range of areas and each overlap.
        matched: ``(T, D)`` int64, the matched object's place in its image for the range of all areas, -1 for none.
        objects: ``(A, I)`` int64, objects to find in each image.
    """

    images: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    found: np.ndarray
    matched: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Matches:
    """All classes' matches by COCO's rules.

    Attributes:
        kind: what overlaps are of, one of ``KINDS``.
        classes: names, by label.
        iou_thrs: ``(T,)`` the least overlaps.
        areas: A names of ranges of areas.
        per_class: of each label.
        num_images: I.
    """

    kind: str
    classes: tuple[str, ...]
    iou_thrs: np.ndarray
    areas: tuple[str, ...]
    per_class: tuple[ClassMatches, ...]
    num_images: int


def match(results: Sequence[ImageResult] | Sequence[RotatedResult], classes: Sequence[str], kind: str = 'bbox',
          iou_thrs: Sequence[float] | None = None, sigmas: Sequence[float] | None = None) -> Matches:
    """Matches predictions and objects of the same class as pycocotools does, crowd and area rules included.

    Args:
        results: of each image, ``ImageResult`` or, for 'rbbox', ``RotatedResult``.
        classes: names of the labels.
        kind: the overlap: of boxes, masks, keypoints (object keypoint similarity) or rotated boxes (exact).
        iou_thrs: least overlaps; .50, .55 … .95 when left out.
        sigmas: of the keypoints; COCO's for 17 and 1 / K for K others when left out.

    Raises:
        ConfigError: an unknown kind, or results that hold nothing of it.
    """
    if kind not in KINDS:
        raise ConfigError(f'the kind of overlap is {kind!r}, but must be one of {", ".join(KINDS)}.'
                          f'{nearest(kind, KINDS)}')
    evaluation = _evaluate(results, len(classes), kind, iou_thrs, sigmas)
    params = evaluation.params
    # evalImgs is ordered by class, then area, then image.
    cells = np.empty((len(classes), len(params.areaRng), len(results)), object)
    cells.flat = evaluation.evalImgs
    # Annotations are numbered from 1 through all images.
    starts = np.cumsum([1, *(len(result.gt_labels) for result in results)])
    per_class = tuple(_class_matches(cells[label], label, results, starts, len(params.iouThrs))
                      for label in range(len(classes)))
    areas = tuple(_AREA_NAMES[name] for name in params.areaRngLbl)
    return Matches(kind, tuple(classes), np.asarray(params.iouThrs), areas, per_class, len(results))


def _evaluate(results: Sequence, class_count: int, kind: str, iou_thrs: Sequence[float] | None,
              sigmas: Sequence[float] | None) -> COCOeval:
    iou_type = 'bbox' if kind == 'rbbox' else kind
    if kind == 'rbbox':
        results = [_upright(result) for result in results]
    elif any({'segm': result.rles, 'keypoints': result.keypoints, 'bbox': result.bboxes}[kind] is None
             for result in results):
        raise ConfigError(f"the results hold no '{kind}'; evaluate the model with a metric of that kind")
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for predictions in (False, True):
            side = COCO()
            side.dataset = to_coco(results, class_count, predictions, iou_type)
            side.createIndex()
            sides.append(side)
        evaluation = (_RotatedEval if kind == 'rbbox' else COCOeval)(*sides, iou_type)
        if iou_thrs is not None:
            evaluation.params.iouThrs = np.asarray(iou_thrs, np.float64)
        evaluation.params.maxDets = [MAX_DETS.get(kind, _DEFAULT_MAX_DETS)]
        if kind == 'keypoints':
            count = max((r.keypoints.shape[1] for r in results), default=0)
            evaluation.params.kpt_oks_sigmas = np.asarray(default_sigmas(count) if sigmas is None else sigmas)
        if kind == 'rbbox':
            evaluation.results = results
        evaluation.evaluate()
    return evaluation


class _RotatedEval(COCOeval):
    """pycocotools' matching on the overlaps of rotated boxes (the method's name and arguments are its own)."""

    results: list

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray | list:
        result = self.results[imgId - 1]
        rows = np.flatnonzero(result.labels == catId)
        columns = np.flatnonzero(result.gt_labels == catId)
        if not len(rows) or not len(columns):
            return []
        rows = rows[np.argsort(-result.scores[rows], kind='mergesort')][:self.params.maxDets[-1]]
        ours, theirs = torch.from_numpy(result.rbboxes[rows]), torch.from_numpy(result.gt_rbboxes[columns])
        return pairwise_rotated_iou(ours, theirs, torch.ones(len(rows), len(columns), dtype=torch.bool)).numpy()


@dataclass
class _Upright(ImageResult):
    """A rotated result in the form that ``to_coco`` takes."""

    rbboxes: np.ndarray | None = None
    gt_rbboxes: np.ndarray | None = None


def _upright(result: RotatedResult) -> _Upright:
    none = np.zeros((len(result.gt_labels), 4))
    wh = result.gt_rbboxes[:, 2:4]
    return _Upright(
        img_id=result.img_id, img_path=result.img_path, ori_shape=(0, 0), gt_bboxes=none, gt_labels=result.gt_labels,
        gt_ignored=result.gt_ignored, gt_areas=wh[:, 0] * wh[:, 1], bboxes=_square(result.rbboxes),
        labels=result.labels, scores=result.scores, rbboxes=result.rbboxes, gt_rbboxes=result.gt_rbboxes)


def _square(rbboxes: np.ndarray) -> np.ndarray:
    """Upright boxes of the same areas, as a prediction's area is read off its box."""
    sides = np.sqrt(rbboxes[:, 2] * rbboxes[:, 3])[:, None]
    return np.concatenate([np.zeros((len(rbboxes), 2)), np.repeat(sides, 2, 1)], 1)


def _class_matches(cells: np.ndarray, label: int, results: Sequence, starts: np.ndarray, num_thrs: int) -> ClassMatches:
    """Joins the images' matches of one class; ``cells (A, I)`` hold pycocotools' dict of an image, or None."""
    num_areas, num_images = cells.shape
    objects = np.zeros((num_areas, num_images), np.int64)
    images, places, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    found = [np.zeros((num_areas, num_thrs, 0), np.int8)]
    matched = [np.zeros((num_thrs, 0), np.int64)]
    for image in range(num_images):
        if cells[0, image] is None:
            continue
        for area in range(num_areas):
            objects[area, image] = int((np.asarray(cells[area, image]['gtIgnore']) == 0).sum())
        whole = cells[0, image]
        count = len(whole['dtIds'])
        own = np.flatnonzero(results[image].labels == label)
        # pycocotools' own order: by score, the earlier first where equal
        own = own[np.argsort(-results[image].scores[own], kind='mergesort')][:count]
        images.append(np.full(count, image))
        places.append(own)
        scores.append(np.asarray(whole['dtScores'], np.float64))
        found.append(np.stack([_outcome(cells[area, image]) for area in range(num_areas)]).reshape(
            num_areas, num_thrs, count))
        ids = np.asarray(whole['dtMatches'], np.int64)
        matched.append(np.where(ids > 0, ids - starts[image], -1).reshape(num_thrs, count))
    order = np.argsort(-np.concatenate(scores), kind='mergesort')
    return ClassMatches(np.concatenate(images)[order], np.concatenate(places)[order], np.concatenate(scores)[order],
                        np.concatenate(found, 2)[..., order], np.concatenate(matched, 1)[:, order], objects)


def _outcome(cell: dict) -> np.ndarray:
    hit = np.asarray(cell['dtMatches']) > 0
    return np.where(np.asarray(cell['dtIgnore'], bool), IGNORED, np.where(hit, TRUE, FALSE)).astype(np.int8)


def average_precisions(matches: ClassMatches, counts: np.ndarray | None = None) -> np.ndarray:
    """COCO's average precision (101 recalls) of one class, on images that count as often as is said.

    Args:
        matches: of the class.
        counts: ``(R, I)`` int, how often each image counts in each of R choices; once each when left out.

    Returns:
        ``(R, A, T)``, -1 where a choice holds no object of the class.
    """
    if counts is None:
        counts = np.ones((1, matches.objects.shape[1]), np.int64)
    num_areas, num_thrs, _ = matches.found.shape
    objects = counts @ matches.objects.T  # (R, A)
    result = np.where(objects > 0, 0., -1.)[:, :, None].repeat(num_thrs, 2)
    weights = counts[:, matches.images]  # (R, D)
    for area in range(num_areas):
        real = objects[:, area] > 0
        if not real.any():
            continue
        for thr in range(num_thrs):
            found = matches.found[area, thr]
            # Only true positives raise recall, so precision is looked up at them alone.
            true = np.cumsum(weights * (found == TRUE), 1)
            seen = true + np.cumsum(weights * (found == FALSE), 1)
            hits = np.flatnonzero(found == TRUE)
            result[real, area, thr] = _area_under(true[real][:, hits], seen[real][:, hits], objects[real, area])
    return result


def _area_under(true: np.ndarray, seen: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Mean of the best precision at 101 recalls or higher ones, ``(R,)``, of counts ``(R, H)`` after each hit."""
    if not true.shape[1]:
        return np.zeros(len(true))
    precision = true / np.maximum(seen, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    envelope = np.concatenate([envelope, np.zeros((len(envelope), 1))], 1)
    recall = true / objects[:, None]
    return np.array([row[np.searchsorted(reached, _RECALLS)].mean()
                     for row, reached in zip(envelope, recall, strict=True)])
