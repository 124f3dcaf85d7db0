"""``compare``: which of several models is better on the same images, and how certain that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from detkit.analysis.bootstrap import (
    Interval,
    class_precisions,
    draw_counts,
    interval,
    mean_precision,
    replicate,
)
from detkit.analysis.collect import Collected
from detkit.analysis.matching import match
from detkit.utils.errors import ConfigError, shorten


@dataclass(frozen=True)
class Figure:
    """One figure of every model.

    Attributes:
        kind: what it measures, 'bbox', 'segm', … or 'label'.
        name: such as 'mAP', 'mAP50', 'mAP_s' or 'top1'.
        group: the class that it is of, '' for all.
        objects: objects (of a classifier: images) that it is measured on.
        values: of each model.
        differences: of each pair (i, j) with i < j, the second model's less the first's.
    """

    kind: str
    name: str
    group: str
    objects: int
    values: list[Interval]
    differences: dict[tuple[int, int], Interval]


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
        models: compared, the first being what the others are held against.
        kinds: what was compared, the config's main one first.
        overall, per_area, per_class: figures.
        confidence: of every interval.
        replicates: draws behind it.
    """

    models: list[Collected]
    kinds: tuple[str, ...]
    overall: list[Figure]
    per_area: list[Figure]
    per_class: list[Figure]
    confidence: float
    replicates: int

    @property
    def headline(self) -> Figure:
        """The figure that models are ranked by."""
        return self.overall[0]


def compare(models: Sequence[Collected], replicates: int = 1000, confidence: float = 0.95,
            seed: int = 0) -> Comparison:
    """Compares models that were evaluated on the same images.

    Args:
        models: at least one.
        replicates: draws of the bootstrap.
        confidence: of the intervals.
        seed: of the draws.

    Raises:
        ConfigError: models of different tasks, classes or images; a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ConfigError(f'the confidence is {confidence}, but must lie between 0 and 1, such as 0.95')
    kinds = check_comparable(models)
    counts = draw_counts(len(models[0].results), replicates, seed)
    overall, per_area, per_class = [], [], []
    for kind in kinds:
        if kind == 'label':
            found = _accuracies(models, counts, confidence)
        else:
            found = _precisions(models, kind, counts, confidence)
        overall += found[0]
        per_area += found[1]
        per_class += found[2]
    return Comparison(list(models), kinds, overall, per_area, per_class, confidence, replicates)


def check_comparable(models: Sequence[Collected]) -> tuple[str, ...]:
    """The kinds that all models can be compared by.

    Raises:
        ConfigError: there is none, or the models' classes or images differ; says how.
    """
    first = models[0]
    kinds = tuple(kind for kind in first.metric.kinds if all(kind in model.metric.kinds for model in models))
    if not kinds:
        said = '; '.join(f"{model.label}: {', '.join(model.metric.kinds)}" for model in models)
        raise ConfigError(f'the models do different tasks, which have no figure in common ({said}). '
                          'Compare models whose configs evaluate the same.')
    for other in models[1:]:
        if other.classes != first.classes:
            differing = [name for name in (*first.classes, *other.classes)
                         if (name in first.classes) != (name in other.classes)]
            raise ConfigError(
                f'{first.label} and {other.label} know different classes ({len(first.classes)} and '
                f'{len(other.classes)}' + (f'; only one has {shorten(differing)}' if differing else ', in other order')
                + '), so that their figures mean different things.')
        ours, theirs = ({str(result.img_id) for result in model.results} for model in (first, other))
        if ours != theirs or len(first.results) != len(other.results):
            raise ConfigError(
                f'{first.label} was evaluated on {len(ours)} images and {other.label} on {len(theirs)}, '
                f'{len(ours & theirs)} of them the same. A comparison needs the same images: give both configs one '
                'data_root with --cfg-options.')
    return kinds


def in_order(model: Collected, first: Collected) -> list:
    """A model's results in the order of the first model's, as batches may be sorted differently."""
    by_id = {str(result.img_id): result for result in model.results}
    return [by_id[str(result.img_id)] for result in first.results]


def _figure(kind: str, name: str, group: str, objects: int, values: np.ndarray, drawn: np.ndarray,
            confidence: float) -> Figure:
    """Of values ``(V,)`` and draws ``(R, V)`` of V models."""
    differences = {(i, j): interval(values[j] - values[i], drawn[:, j] - drawn[:, i], confidence)
                   for i, j in combinations(range(len(values)), 2)}
    intervals = [interval(values[i], drawn[:, i], confidence) for i in range(len(values))]
    return Figure(kind, name, group, objects, intervals, differences)


def _precisions(models: Sequence[Collected], kind: str, counts: np.ndarray,
                confidence: float) -> tuple[list[Figure], list[Figure], list[Figure]]:
    classes = models[0].classes
    sigmas = models[0].metainfo.get('sigmas')
    all_matches = [match(in_order(model, models[0]), classes, kind, sigmas=sigmas) for model in models]
    # (V, C, A, T) and (V, R, C, A, T)
    values = np.stack([class_precisions(matches)[0] for matches in all_matches])
    drawn = np.stack([replicate(lambda c, m=matches: class_precisions(m, c), counts) for matches in all_matches])
    first = all_matches[0]
    objects = np.stack([one.objects.sum(1) for one in first.per_class])  # (C, A)

    def figure(name: str, group: str, number: int, chosen: tuple) -> Figure:
        own, own_drawn = values[(slice(None), *chosen)], drawn[(slice(None), slice(None), *chosen)]
        axes = tuple(range(1, own.ndim))
        return _figure(kind, name, group, int(number), mean_precision(own, axes),
                       mean_precision(own_drawn, tuple(range(2, own_drawn.ndim))).T, confidence)

    every, at_50 = slice(None), slice(0, 1)
    overall = [figure('mAP', '', objects[:, 0].sum(), (every, 0, every)),
               figure('mAP50', '', objects[:, 0].sum(), (every, 0, at_50))]
    per_area = [figure(f'mAP_{area}', '', objects[:, place].sum(), (every, place, every))
                for place, area in enumerate(first.areas) if place and objects[:, place].sum()]
    per_class = [figure('mAP', classes[label], objects[label, 0], (slice(label, label + 1), 0, every))
                 for label in np.flatnonzero(objects[:, 0])]
    return overall, per_area, per_class


def _accuracies(models: Sequence[Collected], counts: np.ndarray,
                confidence: float) -> tuple[list[Figure], list[Figure], list[Figure]]:
    truth = np.array([answer.gt_label for answer in models[0].results])
    answers = np.stack([[answer.labels[0] for answer in in_order(model, models[0])] for model in models])
    right = (answers == truth).astype(np.float64)  # (V, I)

    def figure(group: str, chosen: np.ndarray) -> Figure:
        number = counts[:, chosen].sum(1, keepdims=True)
        drawn = np.where(number > 0, counts[:, chosen] @ right[:, chosen].T / np.maximum(number, 1), np.nan)
        return _figure('label', 'top1', group, int(chosen.sum()), right[:, chosen].mean(1), drawn, confidence)

    per_class = [figure(models[0].classes[label], truth == label) for label in np.unique(truth)]
    return [figure('', np.ones(len(truth), bool))], [], per_class


def verdict(figure: Figure, pair: tuple[int, int], labels: Sequence[str]) -> str:
    """A sentence on which of two models is better, as far as the images can tell."""
    difference, (i, j) = figure.differences[pair], pair
    if np.isnan(difference.low):
        return 'not defined on these images'
    if not difference.excludes_zero:
        return 'no difference shown'
    return f'{labels[j] if difference.value > 0 else labels[i]} is better'


def image_scores(model: Collected, first: Collected, kind: str, score_thr: float = .25) -> np.ndarray:
    """How well a model does on each image, ``(I,)``: F1 of its predictions at an overlap of .5, 1 where there is
    nothing to find and nothing found; of a classifier 1 or 0.

    Args:
        model, kind: whose results, and what they are matched by.
        first: whose order the images have.
        score_thr: predictions below it do not count.
    """
    results = in_order(model, first)
    if kind == 'label':
        return np.array([float(answer.labels[0] == answer.gt_label) for answer in results])
    matches = match(results, model.classes, kind, iou_thrs=[.5], sigmas=model.metainfo.get('sigmas'))
    true, false, objects = (np.zeros(len(results)) for _ in range(3))
    for one in matches.per_class:
        shown = one.scores >= score_thr
        np.add.at(true, one.images[shown], one.found[0, 0, shown] == 1)
        np.add.at(false, one.images[shown], one.found[0, 0, shown] == 0)
        objects += one.objects[0]
    total = objects + true + false
    return np.where(total > 0, 2 * true / np.maximum(total, 1), 1.)


def unique_labels(paths: Sequence[str | Path], given: Sequence[str] | None = None) -> list[str]:
    """What to call models: as given, else the configs' names, numbered where they recur.

    Raises:
        ConfigError: another number of labels than of models, or one given twice.
    """
    if given:
        if len(given) != len(paths) or len(set(given)) != len(given):
            raise ConfigError(f'{len(given)} labels ({", ".join(given)}) for {len(paths)} models; each needs its own')
        return list(given)
    stems = [Path(path).stem for path in paths]
    return [f'{stem}-{stems[:place].count(stem) + 1}' if stems.count(stem) > 1 else stem
            for place, stem in enumerate(stems)]
