"""Labels that a trained model disagrees with, the most likely mistakes first.

Confident learning (Northcutt et al., 2021, "Confident learning: estimating uncertainty in dataset labels",
arXiv:1911.00068) counts a prediction only if its score reaches a threshold of its class, which is how sure the model is
of that class's labels. For a classifier it is the mean score that the model gives to them. For a detector, whose scores
of one class spread far more, it is the lower quartile of the scores of the labels that the model finds, between 0.25
and 0.5; the kinds are those of ObjectLab (Tkachenko et al., 2023, arXiv:2309.00832): objects that were overlooked,
labels that were swapped, boxes that were badly placed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.structures import InstanceData

from detkit.analysis.data.annotations_table import SPLITS
from detkit.analysis.errors.confusion import pair_up
from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.analysis.errors.matching import overlaps_of
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError

AGREEING_IOU = 0.5  # from which a prediction and a label are about the same object
SEPARATE_IOU = 0.3  # below which a prediction is about no labelled object
TOUCHING_IOU = 0.1  # from which a badly placed box is still about its object
# A detector's confident prediction has at least the first score, however low those of its class are, and at most needs
# the second one, however high they are.
SCORE_RANGE = (0.25, 0.5)
LEAST_FOUND = 5  # labels of a class that a detector finds, without which their scores say little
_ROUNDING = 1e-9  # of scores that are equal

DISAGREEMENT_KINDS = {
    'overlooked': f'a confident prediction that overlaps no labelled object by {SEPARATE_IOU:g} or more',
    'swapped': 'a confident prediction of another class in the same place',
    'badly placed': f'a confident prediction of the class that overlaps the object by less than {AGREEING_IOU:g}',
}


@dataclass(frozen=True)
class Disagreement:
    """A label that the model disagrees with, or a label that it misses.

    Attributes:
        kind: a key of ``DISAGREEMENT_KINDS``.
        image: index of the image in the model's results.
        object: index of the object in its image; None where it was overlooked, and of a classifier.
        prediction: index of the prediction in its image; None of a classifier.
        given: label that the object has, None where it was overlooked.
        suggested: label that the model predicts.
        score: 0 to 1, the greater the more likely is a mistake.
        detail: scores and overlap, as text.
    """

    kind: str
    image: int
    object: int | None
    prediction: int | None
    given: int | None
    suggested: int
    score: float
    detail: str


@dataclass(frozen=True)
class LabelDisagreements:
    """All disagreements of a model and the labels of a split.

    Attributes:
        split: name of the split.
        model: the evaluated model.
        thresholds: ``(C,)`` score from which a prediction of each class counts; inf where nothing says how sure the
            model is: a detector that finds no label, a class that no image of a classifier has.
        found: the disagreements, the greatest score first.
        joint: ``(C, C)`` of a classifier, the estimated number of images with each given label (rows) and each true
            class (columns); None of a detector.
    """

    split: str
    model: EvaluatedModel
    thresholds: np.ndarray
    found: list[Disagreement]
    joint: np.ndarray | None = None

    def image_scores(self) -> np.ndarray:
        """Return how likely each image has a mistake, ``(I,)``: 1 - the product of 1 - the scores of its labels."""
        right = np.ones(len(self.model.results))
        for one in self.found:
            right[one.image] *= 1 - one.score
        return 1 - right


def split_checkpoints(given: Sequence[str], splits: Sequence[str]) -> dict[str, str]:
    """Return the checkpoint of each split that has one.

    Args:
        given: 'FILE' for all splits or 'SPLIT=FILE' for one, which goes first.
        splits: names of the splits of the report.

    Raises:
        ConfigError: two files for one split, or a split that is not part of the report.
    """
    named: dict[str, str] = {}
    general: list[str] = []
    for text in given:
        split, equals, file = text.partition('=')
        if not equals or split not in SPLITS:
            general.append(text)
        elif split not in splits:
            raise ConfigError(f'--checkpoint {text}: the report is about {", ".join(splits)}; add {split} to --split')
        elif split in named:
            raise ConfigError(f'--checkpoint {text}: {split} has {named[split]} already; give one file for each split')
        else:
            named[split] = file
    if len(general) > 1:
        raise ConfigError(
            f'--checkpoint {" ".join(general)}: say which split each file is for, for example {splits[0]}={general[0]}'
        )
    every = dict.fromkeys(splits, general[0]) if general else {}
    return {split: file for split in splits if (file := named.get(split) or every.get(split))}


def find_disagreements(model: EvaluatedModel, split: str) -> LabelDisagreements:
    """Compare the predictions of a model with the labels that it was evaluated on.

    Boxes are compared, rotated ones where the model predicts such. Crowds and difficult objects are neither mistakes
    nor overlooked.

    Args:
        model: evaluated; its metric keeps single images.
        split: name of the data.
    """
    if model.classifies:
        return _classified(model, split)
    kind = 'rbbox' if 'rbbox' in model.metric.needs else 'bbox'
    thresholds = _detection_thresholds(model, kind)
    found = [
        one
        for image, result in enumerate(model.results)
        for one in _detected(image, result, overlaps_of(result, kind), thresholds, model.classes)
    ]
    return LabelDisagreements(split, model, thresholds, _worst_first(found))


def _worst_first(found: Sequence[Disagreement]) -> list[Disagreement]:
    return sorted(found, key=lambda one: -one.score)


# ---- detectors -------------------------------------------------------------------------------------------------------


def _detection_thresholds(model: EvaluatedModel, kind: str) -> np.ndarray:
    """Return the lower quartile of each class's scores of labels that are found, in ``SCORE_RANGE``, ``(C,)``.

    A class with fewer than ``LEAST_FOUND`` such labels has the quartile of all classes, inf if no label is found.
    """
    scores, labels = [np.zeros(0)], [np.zeros(0, np.int64)]
    for result in model.results:
        gt, pred = result.gt_instances, result.pred_instances
        # Overlaps are computed again later: those of all images of COCO would take gigabytes.
        agreeing = (overlaps_of(result, kind) >= AGREEING_IOU) & (pred.labels[:, None] == gt.labels) & ~gt.ignored
        # Only the surest prediction of an object counts as the model's label for it.
        best = np.where(agreeing, pred.scores[:, None], -1.0).max(0, initial=-1.0)
        scores.append(best[best >= 0])
        labels.append(gt.labels[best >= 0])
    joined, own_labels = np.concatenate(scores), np.concatenate(labels)
    if not len(joined):
        return np.full(len(model.classes), np.inf)
    overall = np.quantile(joined, 0.25)
    of_class = [joined[own_labels == label] for label in range(len(model.classes))]
    quartiles = [np.quantile(own, 0.25) if len(own) >= LEAST_FOUND else overall for own in of_class]
    return np.clip(quartiles, *SCORE_RANGE)


def _detected(
    image: int, result: DetDataSample, overlaps: np.ndarray, thresholds: np.ndarray, classes: Sequence[str]
) -> Iterator[Disagreement]:
    """Yield the disagreements of an image; ``overlaps (D, N)`` are those of all predictions and objects."""
    gt, pred = result.gt_instances, result.pred_instances
    confident = pred.scores >= thresholds[pred.labels] - _ROUNDING
    free = confident[:, None] & ~gt.ignored  # pairs (D, N) of which neither part is explained yet
    same_class = pred.labels[:, None] == gt.labels

    def take(pairs: np.ndarray) -> list[list[int]]:
        free[pairs[:, 0]] = False
        free[:, pairs[:, 1]] = False
        confident[pairs[:, 0]] = False
        return pairs.tolist()

    take(pair_up(overlaps * (free & same_class), AGREEING_IOU))
    for d, n in take(pair_up(overlaps * (free & ~same_class), AGREEING_IOU)):
        given, suggested = int(gt.labels[n]), int(pred.labels[d])
        there = (overlaps[:, n] >= AGREEING_IOU) & same_class[:, n]
        own_score = float(pred.scores[there].max(initial=0.0))
        yield Disagreement(
            'swapped',
            image,
            n,
            d,
            given,
            suggested,
            _margin(float(pred.scores[d]), own_score),
            f'{classes[suggested]} {pred.scores[d]:.2f}, {classes[given]} {own_score:.2f}, '
            f'overlap {overlaps[d, n]:.2f}',
        )
    for d, n in take(pair_up(overlaps * (free & same_class), TOUCHING_IOU)):
        label = int(pred.labels[d])
        yield Disagreement(
            'badly placed',
            image,
            n,
            d,
            int(gt.labels[n]),
            label,
            float(pred.scores[d] * (1 - overlaps[d, n])),
            f'{classes[label]} {pred.scores[d]:.2f}, overlap {overlaps[d, n]:.2f}',
        )
    nearest = overlaps.max(1, initial=0.0)
    alone = np.flatnonzero(confident & (nearest < SEPARATE_IOU))
    for d in _distinct(pred, alone[np.argsort(-pred.scores[alone], kind='stable')]):
        label, box = int(pred.labels[d]), ' '.join(f'{value:.0f}' for value in pred.bboxes[d])
        yield Disagreement(
            'overlooked',
            image,
            None,
            d,
            None,
            label,
            float(pred.scores[d] * (1 - nearest[d])),
            f'{classes[label]} {pred.scores[d]:.2f}, overlap with the nearest object {nearest[d]:.2f}, box {box}',
        )


def _distinct(pred: InstanceData, order: np.ndarray) -> list[int]:
    """Return those of the predictions that are not an earlier one's box with another class."""
    kept: list[int] = []
    for index in order.tolist():
        others = [other for other in kept if pred.labels[other] != pred.labels[index]]
        if not others or pairwise_iou(pred.bboxes[[index]], pred.bboxes[others]).max() < AGREEING_IOU:
            kept.append(index)
    return kept


def _margin(suggested: float, given: float) -> float:
    """Map the difference of two scores from -1 … 1 to 0 … 1."""
    return (1 + suggested - given) / 2


# ---- classifiers -----------------------------------------------------------------------------------------------------


def _classified(model: EvaluatedModel, split: str) -> LabelDisagreements:
    """Build the confident joint: an image counts for the most probable class among those whose threshold it reaches."""
    given = np.array([result.gt_label for result in model.results], np.int64)
    scores = np.stack([np.asarray(result.pred_scores, np.float64) for result in model.results])  # (I, C)
    images, count = np.arange(len(given)), len(model.classes)
    counts = np.bincount(given, minlength=count)
    sums = np.bincount(given, scores[images, given], minlength=count)
    # A class that no image has is suggested to none.
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    reached = np.where(scores >= thresholds - _ROUNDING, scores, -1.0)
    suggested = reached.argmax(1)
    counted = reached.max(1) >= 0
    joint = np.zeros((count, count))
    np.add.at(joint, (given[counted], suggested[counted]), 1)
    found = []
    for image in np.flatnonzero(counted & (suggested != given)).tolist():
        ours, theirs = int(suggested[image]), int(given[image])
        first, second = float(scores[image, ours]), float(scores[image, theirs])
        detail = f'{model.classes[ours]} {first:.2f}, {model.classes[theirs]} {second:.2f}'
        found.append(Disagreement('swapped', image, None, None, theirs, ours, _margin(first, second), detail))
    return LabelDisagreements(split, model, thresholds, _worst_first(found), _calibrated(joint, given))


def _calibrated(joint: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Scale the rows of the confident joint to the numbers of images of each given label (equation 3)."""
    totals = joint.sum(1, keepdims=True)
    counts = np.bincount(given, minlength=len(joint))[:, None]
    return np.where(totals > 0, joint / np.maximum(totals, 1) * counts, np.diag(counts[:, 0]))
