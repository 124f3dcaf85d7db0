"""``AccuracyMetric``: how often a classifier is right."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from terminaltables import AsciiTable

from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.registry import METRICS
from detkit.utils.errors import ConfigError, DataError

__all__ = ['AccuracyMetric', 'class_entry']

# How many classes of an image are written to files.
_LISTED = 5
# How many classes the table has room for.
_TABLE_ROWS = 50


@dataclass
class _Answer:
    """Of one image: the classes from the most probable one on, with their scores, and the true one with its own."""

    img_path: str
    img_id: str
    gt_label: int
    gt_score: float
    labels: np.ndarray
    scores: np.ndarray


@METRICS.register_module()
class AccuracyMetric(GatheredMetric):
    """Top-k accuracy: the share of images whose class is among the k most probable ones; ``accuracy/top1``, ….

    With k classes or fewer, top-k is 1. Images that could not be read are left out. On request also
    ``accuracy/cross_entropy``, the mean of -ln of the true class's probability, to set beside a training loss.

    After an evaluation, on the main process: ``confusion``, ``(C, C)`` int64, rows the true classes and columns the
    predicted ones; ``per_class``, a list of dicts, and ``table``, text, with the images, accuracy (recall), precision
    and F1 of every class that has images (the table: of the 50 with the lowest F1 where they are more).

    Args:
        topk: the ks.
        classwise: make the per-class table.
        cross_entropy: compute that too.
        outfile: where to write the predictions (json, an entry an image, see ``class_entry``), or None.
        collect_device: unused but for mmengine's interface; results are gathered as objects.
        prefix: in place of 'accuracy'.

    Raises:
        ConfigError: a k below 1, or none.
    """

    default_prefix = 'accuracy'
    headline = ('top1', 'top5', 'cross_entropy')
    charts = {'accuracy': ('top1', 'top5'), 'cls loss': ('cross_entropy',)}
    lower_is_better = ('cross_entropy',)
    needs = ('label',)

    @classmethod
    def fitness(cls, results: Mapping[str, float]) -> float | None:
        """Return the mean of top-1 and top-5 accuracy, or the one that there is."""
        accuracies = [results[name] for name in cls.charts['accuracy'] if name in results]
        return sum(accuracies) / len(accuracies) if accuracies else None

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        classwise: bool = True,
        outfile: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        cross_entropy: bool = False,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = [int(k) for k in topk]
        if not self.topk or min(self.topk) < 1:
            raise ConfigError(f'AccuracyMetric: topk is {list(topk)}, but must be numbers from 1 on.')
        self.classwise = classwise
        self.outfile = outfile
        self.cross_entropy = cross_entropy
        self.confusion: np.ndarray | None = None
        self.per_class: list[dict[str, Any]] = []
        self.table = ''

    def image_result(self, sample: dict) -> _Answer:
        """The best classes of an image."""
        path = sample.get('img_path') or ''
        if 'gt_label' not in sample:
            raise DataError(
                f"AccuracyMetric needs the class of each image, but the data sample of '{path}' holds "
                'none; it takes an ImageFolderDataset with test_mode=True.'
            )
        labels, scores = best_classes(sample['pred_scores'], max(*self.topk, _LISTED))
        gt_label = sample['gt_label']
        gt_score = float(sample['pred_scores'][gt_label])
        return _Answer(path, str(sample.get('img_id', path)), gt_label, gt_score, labels, scores)

    def compute_metrics(self, results: list[_Answer]) -> dict[str, float]:
        """The figures without prefix."""
        self.confusion, self.per_class, self.table = None, [], ''
        if not results:
            print_log('AccuracyMetric has seen no image: there is nothing to evaluate.', 'current', logging.WARNING)
            return {}
        truth = np.array([answer.gt_label for answer in results])
        first = np.array([answer.labels[0] for answer in results])
        classes = self._class_names(int(max(truth.max(), first.max())) + 1)
        self.confusion = np.bincount(truth * len(classes) + first, minlength=len(classes) ** 2).reshape(
            len(classes), -1
        )
        if self.classwise:
            self._make_table(classes)
        if self.outfile:
            entries = [
                {
                    **class_entry(answer.img_path, answer.img_id, answer.labels, answer.scores, classes),
                    'true_category_id': answer.gt_label,
                    'true_category_name': classes[answer.gt_label],
                }
                for answer in results
            ]
            Path(self.outfile).parent.mkdir(parents=True, exist_ok=True)
            Path(self.outfile).write_text(json.dumps(entries), encoding='utf-8')
        figures = {
            f'top{k}': float(np.mean([answer.gt_label in answer.labels[:k] for answer in results])) for k in self.topk
        }
        if self.cross_entropy:
            # Of a probability that float32 rounds to 0 no more is known than that it is below its smallest number.
            gt_scores = np.maximum([answer.gt_score for answer in results], np.finfo(np.float32).tiny)
            figures['cross_entropy'] = float(-np.log(gt_scores).mean())
        return figures

    def _class_names(self, least: int) -> list[str]:
        classes = (self.dataset_meta or {}).get('classes')
        return [str(label) for label in range(least)] if classes is None else list(classes)

    def _make_table(self, classes: list[str]) -> None:
        """Fill ``per_class`` and ``table``."""
        images, answers, right = self.confusion.sum(1), self.confusion.sum(0), self.confusion.diagonal()
        chosen = {'all': None} | {classes[k]: k for k in np.flatnonzero(images)}
        for name, k in chosen.items():
            if k is None:
                entry = {'class': name, 'images': int(images.sum()), 'top1': float(right.sum() / images.sum())}
                self.per_class.append(entry)
                continue
            recall = float(right[k] / images[k])
            precision = float(right[k] / answers[k]) if answers[k] else 0.0
            self.per_class.append(
                {
                    'class': name,
                    'images': int(images[k]),
                    'top1': recall,
                    'precision': precision,
                    'F1': 2 * precision * recall / (precision + recall) if right[k] else 0.0,
                }
            )
        columns = ['class', 'images', 'top1', 'precision', 'F1']
        whole, *shown = self.per_class
        if len(shown) > _TABLE_ROWS:
            shown = sorted(shown, key=lambda entry: entry['F1'])[:_TABLE_ROWS]
        rows = [[_cell(entry.get(column, '')) for column in columns] for entry in (whole, *shown)]
        table = AsciiTable([columns, *rows])
        table.justify_columns = {column: 'right' for column in range(1, len(columns))}
        self.table = table.table


def best_classes(scores: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of the ``count`` most probable of ``(C,)`` scores, best first; the lower label where equal."""
    values, labels = torch.as_tensor(scores).cpu().sort(descending=True, stable=True)
    return labels[:count].numpy(), values[:count].numpy()


def class_entry(
    img_path: str, img_id: str, labels: Sequence[int], scores: Sequence[float], classes: Sequence[str]
) -> dict[str, Any]:
    """What the json files say of one image: its most probable class, and the five most probable ones in ``top5``.

    Args:
        labels, scores: the most probable classes, best first.
        classes: names of the labels.
    """
    ranked = [
        {'category_id': int(label), 'category_name': classes[int(label)], 'score': round(float(score), 6)}
        for label, score in zip(labels[:_LISTED], scores[:_LISTED], strict=True)
    ]
    return {'file_name': img_path, 'image_id': img_id, **ranked[0], 'top5': ranked}


def _cell(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)
