"""Comparison of several models on the same images, with confidence intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from detkit.analysis.errors.bootstrap import Interval, draw_counts, interval, mean_precision, precision_summaries
from detkit.analysis.errors.evaluated_model import EvaluatedModel, ModelEvaluation, model_name
from detkit.analysis.errors.matching import Matches, match
from detkit.engine.evaluate import EvaluationSettings
from detkit.evaluation.average_precision import FALSE, TRUE
from detkit.structures.data_sample import DetDataSample, is_among_best
from detkit.utils.errors import ConfigError, shorten

# The bootstrap's intervals are too narrow for fewer: they would find differences where there are none.
MIN_IMAGES = 30


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of every model.

    Attributes:
        kind: 'bbox', 'segm', … or 'label'.
        name: its name, for example 'mAP', 'mAP50', 'mAP_s' or 'top1'.
        group: the class that it is measured on, '' for all.
        objects: objects (of a classifier: images) that it is measured on.
        images: images that it is measured on; of a class or size, those with such objects.
        values: its value for each model.
        differences: for each pair (i, j) with i < j, the second model's less the first's.
    """

    kind: str
    name: str
    group: str
    objects: int
    images: int
    values: list[Interval]
    differences: dict[tuple[int, int], Interval]


@dataclass(frozen=True)
class Comparison:
    """The results of ``compare``.

    Attributes:
        models: the models, the first being the one that the others are compared with.
        kinds: kinds of overlap, the config's main one first.
        overall, per_area, per_class: metrics.
        confidence: level of every interval.
        replicates: bootstrap replicates of every interval.
        results: samples of each model, the images in the first model's order.
        matches: matches of each model by the last of the kinds; None for classifiers.
    """

    models: list[EvaluatedModel]
    kinds: tuple[str, ...]
    overall: list[ComparedMetric]
    per_area: list[ComparedMetric]
    per_class: list[ComparedMetric]
    confidence: float
    replicates: int
    results: list[list[DetDataSample]]
    matches: list[Matches] | None

    @property
    def labels(self) -> list[str]:
        """Names of the models."""
        return [model.label for model in self.models]

    @property
    def headline(self) -> ComparedMetric:
        """The metric that models are ranked by."""
        return self.overall[0]


def evaluate_models(
    models: Sequence[tuple[str | Path, str | Path]],
    labels: Sequence[str] | None = None,
    options: Sequence[str] | dict | None = None,
    settings: EvaluationSettings = EvaluationSettings(),
) -> list[EvaluatedModel]:
    """Evaluate several models for ``compare``, after a check that they can be compared.

    Args:
        models: config and checkpoint of each.
        labels: their names; the configs' names if left out.
        options, settings: those of ``ModelEvaluation``, for all models.

    Raises:
        ConfigError, CheckpointError, DataError: as ``ModelEvaluation``, ``unique_labels`` and ``check_tasks``.
    """
    labels = unique_labels([config for config, _ in models], labels)
    evaluations: list[ModelEvaluation] = []
    try:
        for label, (config, checkpoint) in zip(labels, models, strict=True):
            evaluations.append(ModelEvaluation(config, checkpoint, options, settings, label))
        check_tasks(evaluations)
        return [evaluation.run() for evaluation in evaluations]
    finally:
        for evaluation in evaluations:
            evaluation.close()


def compare(
    models: Sequence[EvaluatedModel], replicates: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare models that were evaluated on the same images.

    Args:
        models: at least one.
        replicates: number of bootstrap resamples.
        confidence: level of the intervals.
        seed: seed of the resamples.

    Raises:
        ConfigError: models of different tasks, classes, images or objects; a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f'the confidence is {confidence}, but must lie between 0 and 1, such as 0.95')
    kinds = check_tasks(models)
    results = in_order(models)
    counts = draw_counts(len(results[0]), replicates, seed)
    overall, per_area, per_class, matches = [], [], [], None
    for kind in kinds:
        if kind == 'label':
            found = _accuracies(models, results, counts, confidence)
        else:
            first = models[0]
            matches = [
                match(own, first.classes, kind, sigmas=first.metainfo.get('sigmas'), max_dets=first.max_dets(kind))
                for own in results
            ]
            found = _precisions(matches, counts, confidence)
        overall += found[0]
        per_area += found[1]
        per_class += found[2]
    return Comparison(list(models), kinds, overall, per_area, per_class, confidence, replicates, results, matches)


def check_tasks(models: Sequence[EvaluatedModel] | Sequence[ModelEvaluation]) -> tuple[str, ...]:
    """Return the kinds of overlap that all models are evaluated by.

    Raises:
        ConfigError: there is none, or the models' classes or numbers of images differ.
    """
    first = models[0]
    kinds = tuple(kind for kind in first.metric.needs if all(kind in model.metric.needs for model in models))
    if not kinds:
        said = '; '.join(f'{model.label}: {", ".join(model.metric.needs)}' for model in models)
        raise ConfigError(
            f'the models do different tasks, which have no metric in common ({said}). '
            'Compare models whose configs evaluate the same.'
        )
    for other in models[1:]:
        if other.classes != first.classes:
            differing = [
                name for name in (*first.classes, *other.classes) if (name in first.classes) != (name in other.classes)
            ]
            raise ConfigError(
                f'{first.label} and {other.label} know different classes ({len(first.classes)} and '
                f'{len(other.classes)}'
                + (f'; only one has {shorten(differing)}' if differing else ', in other order')
                + '), so that their metrics mean different things.'
            )
        if isinstance(first, ModelEvaluation) and other.num_images != first.num_images:
            raise ConfigError(_OTHER_IMAGES.format(first.label, first.num_images, other.label, other.num_images))
    return kinds


# How far the places of an object may lie apart in files of two formats, which round them, or where one takes the box of
# the outline: a share of the image's longer side.
_SAME_PLACE = 0.02
_OTHER_IMAGES = (
    '{} is evaluated on {} images and {} on {}. A comparison needs the same images: give all configs one '
    'data_root with --cfg-options.'
)


def in_order(models: Sequence[EvaluatedModel]) -> list[list[DetDataSample]]:
    """Return every model's results in the order of the first model's.

    Raises:
        ConfigError: the images differ, or their objects.
    """
    first, keyed = models[0], []
    for model in models:
        # Ids may recur in other folders, and folders may differ between data of one content.
        ids = [str(result.img_id) for result in model.results]
        names = ids if len(set(ids)) == len(ids) else [result.img_path for result in model.results]
        # Joined datasets may show one image with different objects.
        seen: Counter[str] = Counter()
        keys = []
        for name in names:
            keys.append(f'{name} ({seen[name] + 1})' if seen[name] else name)
            seen[name] += 1
        keyed.append(dict(zip(keys, model.results, strict=True)))
    for model, own in zip(models, keyed, strict=True):
        if own.keys() != keyed[0].keys():
            raise ConfigError(
                _OTHER_IMAGES.format(first.label, len(keyed[0]), model.label, len(own))
                + f' {len(own.keys() & keyed[0].keys())} are the same.'
            )
        differing = [key for key, result in own.items() if not _same_objects(result, keyed[0][key])]
        if differing:
            raise ConfigError(
                f'{first.label} and {model.label} were measured by different annotations of '
                f'{len(differing)} images ({shorten(differing)}), so that their metrics mean different '
                'things.'
            )
    return [[own[key] for key in keyed[0]] for own in keyed]


def _same_objects(one: DetDataSample, other: DetDataSample) -> bool:
    if 'gt_label' in one:
        return one.gt_label == other.gt_label
    first, second = one.gt_instances, other.gt_instances
    if not np.array_equal(np.sort(first.labels), np.sort(second.labels)) or first.ignored.sum() != second.ignored.sum():
        return False
    # Rotated boxes are compared by their centres, as one box has several sides and angles. Each coordinate is sorted
    # by itself, as the order of the objects may differ.
    rotated = 'rbboxes' in first and 'rbboxes' in second
    places = [np.sort(own.rbboxes[:, :2] if rotated else own.bboxes, 0) for own in (first, second)]
    return np.abs(places[0] - places[1]).max(initial=0) <= _SAME_PLACE * max(one.ori_shape)


def _metric(
    kind: str,
    name: str,
    group: str,
    objects: int,
    images: int,
    values: np.ndarray,
    drawn: np.ndarray,
    confidence: float,
) -> ComparedMetric:
    """Return a metric with intervals from values ``(V,)`` and bootstrap replicates ``(R, V)`` of V models."""
    differences = {
        (i, j): interval(values[j] - values[i], drawn[:, j] - drawn[:, i], confidence)
        for i, j in combinations(range(len(values)), 2)
    }
    intervals = [interval(values[i], drawn[:, i], confidence) for i in range(len(values))]
    return ComparedMetric(kind, name, group, int(objects), int(images), intervals, differences)


_MEAN, _AT_50 = 0, 1  # of ``precision_summaries``


def _precisions(
    all_matches: Sequence[Matches], counts: np.ndarray, confidence: float
) -> tuple[list[ComparedMetric], list[ComparedMetric], list[ComparedMetric]]:
    # (V, C, A, 2) and (R, V, C, A, 2)
    values = np.stack([precision_summaries(matches)[0] for matches in all_matches])
    drawn = np.stack([precision_summaries(matches, counts) for matches in all_matches], 1)
    first = all_matches[0]
    per_image = np.stack([one.objects for one in first.per_class])  # (C, A, I)
    objects = per_image.sum(2)  # (C, A)
    holding = (per_image > 0).sum(2)  # (C, A) images with such objects

    def metric(name: str, area: int = 0, what: int = _MEAN) -> ComparedMetric:
        own, own_drawn = values[:, :, area, what], drawn[:, :, :, area, what]
        return _metric(
            first.kind,
            name,
            '',
            objects[:, area].sum(),
            (per_image[:, area] > 0).any(0).sum() if area else first.num_images,
            mean_precision(own),
            mean_precision(own_drawn),
            confidence,
        )

    overall = [metric('mAP'), metric('mAP50', what=_AT_50)]
    per_area = [metric(f'mAP_{name}', area) for area, name in enumerate(first.areas) if area and objects[:, area].any()]
    per_class = [
        _metric(
            first.kind,
            'mAP',
            first.classes[label],
            objects[label, 0],
            holding[label, 0],
            values[:, label, 0, _MEAN],
            drawn[:, :, label, 0, _MEAN],
            confidence,
        )
        for label in np.flatnonzero(objects[:, 0])
    ]
    return overall, per_area, per_class


def _accuracies(
    models: Sequence[EvaluatedModel], results: Sequence[Sequence[DetDataSample]], counts: np.ndarray, confidence: float
) -> tuple[list[ComparedMetric], list[ComparedMetric], list[ComparedMetric]]:
    truth, classes = np.array([answer.gt_label for answer in results[0]]), models[0].classes

    ks = sorted({1, *(k for k in models[0].metric.topk if k < len(classes))})  # of k classes, top-k is 1
    hits = {k: np.array([[is_among_best(answer, k) for answer in own] for own in results]) for k in ks}

    def metric(k: int, group: str = '', label: int | None = None) -> ComparedMetric:
        chosen = np.ones(len(truth), bool) if label is None else truth == label
        right = hits[k][:, chosen].astype(np.float64)  # (V, n)
        number = counts[:, chosen].sum(1, keepdims=True)
        drawn = np.where(number > 0, counts[:, chosen] @ right.T / np.maximum(number, 1), np.nan)
        return _metric('label', f'top{k}', group, chosen.sum(), chosen.sum(), right.mean(1), drawn, confidence)

    return [metric(k) for k in ks], [], [metric(1, classes[label], label) for label in np.unique(truth)]


def verdict(metric: ComparedMetric, pair: tuple[int, int], labels: Sequence[str]) -> str:
    """Say which of two models is better, if the images show it; of less than ``MIN_IMAGES`` there is no verdict."""
    difference, (i, j) = metric.differences[pair], pair
    if np.isnan(difference.low):
        return 'not defined on these images'
    if metric.images < MIN_IMAGES:
        return f'no verdict: {metric.images} images, {MIN_IMAGES} needed'
    if not difference.excludes_zero:
        return 'no difference shown'
    return f'{labels[j] if difference.value > 0 else labels[i]} is better'


def image_scores(found: Comparison, score_thr: float = 0.25) -> np.ndarray:
    """Return a score of each model on each image, ``(V, I)``.

    It is the F1 of its predictions by the last of the kinds at an overlap of .5, which is 1 for an image without
    objects and predictions; of a classifier 1 or 0.

    Args:
        found: the results of ``compare``.
        score_thr: predictions below it do not count.
    """
    if found.matches is None:
        right = [[is_among_best(sample, 1) for sample in own] for own in found.results]
        return np.array(right, np.float64)
    return np.stack([_f1_of_images(matches, score_thr) for matches in found.matches])


def _f1_of_images(matches: Matches, score_thr: float) -> np.ndarray:
    true, false, objects = (np.zeros(matches.num_images) for _ in range(3))
    for one in matches.per_class:
        sure = one.scores >= score_thr
        outcome, images = one.found[0, 0, sure], one.images[sure]
        true += np.bincount(images[outcome == TRUE], minlength=matches.num_images)
        false += np.bincount(images[outcome == FALSE], minlength=matches.num_images)
        objects += one.objects[0]
    total = objects + true + false
    return np.where(total > 0, 2 * true / np.maximum(total, 1), 1.0)


def unique_labels(paths: Sequence[str | Path], given: Sequence[str] | None = None) -> list[str]:
    """Return the given names of the models, or else the configs' names, numbered where they recur.

    Raises:
        ConfigError: another number of labels than of models, or one given twice.
    """
    if given:
        if len(given) != len(paths) or len(set(given)) != len(given):
            raise ConfigError(f'{len(given)} labels ({", ".join(given)}) for {len(paths)} models; each needs its own')
        return list(given)
    stems = [model_name(path) for path in paths]
    numbered = [
        f'{stem}-{stems[:index].count(stem) + 1}' if stems.count(stem) > 1 else stem for index, stem in enumerate(stems)
    ]
    if len(set(numbered)) < len(numbered):  # a config is called what another's number makes of its name
        return [f'{index}-{stem}' for index, stem in enumerate(stems, 1)]
    return numbered
