"""``AccuracyMetric``: the share of images whose class a classifier predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from detkit.evaluation.class_format import NUM_LISTED, class_entry
from detkit.evaluation.evaluated_sample import as_array
from detkit.evaluation.gathered_metric import GatheredMetric, is_defined
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample, best_classes
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.tables import text_table, write_json

# Classes that the table has room for.
_TABLE_ROWS = 50


@METRICS.register_module()
class AccuracyMetric(GatheredMetric):
    """Top-k accuracy: the share of images whose class is among the k most probable ones; ``accuracy/top1``, ….

    With k classes or fewer, top-k is 1. Images that could not be read are left out; one whose scores are infinite or
    not a number, or all 0, counts as a mistake. On request also ``accuracy/cross_entropy``, the mean of -ln of the true
    class's probability, which can be compared with a training loss. The table of classes has accuracy (recall),
    precision and F1; of more than 50 classes, those with the lowest F1.

    Args:
        topk: the ks.
        classwise, prefix: as in ``GatheredMetric``.
        outfile: where to write the predictions (json, an entry an image, see ``class_entry``), or None.
        cross_entropy: compute it too.

    Attributes:
        confusion: ``(C, C)`` int64, after an evaluation and on the main process; rows are the true classes, columns the
            predicted ones. Images without scores are in none.

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
        accuracies = [results[name] for name in cls.charts['accuracy'] if is_defined(results.get(name, -1.0))]
        return sum(accuracies) / len(accuracies) if accuracies else None

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        classwise: bool = True,
        outfile: str | None = None,
        prefix: str | None = None,
        cross_entropy: bool = False,
    ) -> None:
        super().__init__(classwise, outfile, prefix)
        self.topk = [int(k) for k in topk]
        if not self.topk or min(self.topk) < 1:
            raise ConfigError(f'AccuracyMetric: topk is {list(topk)}, but must be numbers from 1 on.')
        self.cross_entropy = cross_entropy
        self.confusion: np.ndarray | None = None

    def image_result(self, sample: DetDataSample) -> DetDataSample:
        path = sample.get('img_path') or ''
        if 'gt_label' not in sample:
            raise DataError(
                f"AccuracyMetric needs the class of each image, but the data sample of '{path}' holds "
                'none; it takes an ImageFolderDataset with test_mode=True.'
            )
        kept = DetDataSample(metainfo=dict(img_path=path, img_id=sample.get('img_id', path)))
        scores = as_array(sample.pred_scores)
        kept.gt_label, kept.pred_scores = (
            sample.gt_label,
            scores if np.isfinite(scores).all() else np.zeros_like(scores),
        )
        return kept

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        count = max(*self.topk, NUM_LISTED)
        ranked = [best_classes(sample.pred_scores, count) for sample in results]
        truth = np.array([sample.gt_label for sample in results])
        first = np.array([labels[0] for labels, _ in ranked])
        answered = np.array([scores[0] > 0 for _, scores in ranked])  # else there are no scores
        classes = self.class_names([truth, first])
        pairs = (truth * len(classes) + first)[answered]
        self.confusion = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), -1)
        if self.classwise:
            self._make_table(classes, np.bincount(truth, minlength=len(classes)))
        if self.outfile:
            entries = [
                {
                    **class_entry(sample.img_path, str(sample.img_id), labels, scores, classes),
                    'true_category_id': sample.gt_label,
                    'true_category_name': classes[sample.gt_label],
                }
                for sample, (labels, scores) in zip(results, ranked, strict=True)
            ]
            write_json(self.outfile, entries)
        metrics = {
            f'top{k}': float(
                np.mean(answered & [t in labels[:k] for t, (labels, _) in zip(truth, ranked, strict=True)])
            )
            for k in self.topk
        }
        if self.cross_entropy:
            # A probability that float32 rounds to 0 counts as the smallest positive number, whose logarithm is finite.
            gt_scores = [float(sample.pred_scores[sample.gt_label]) for sample in results]
            gt_scores = np.maximum(gt_scores, np.finfo(np.float32).tiny)
            metrics['cross_entropy'] = float(-np.log(gt_scores).mean())
        return metrics

    def _make_table(self, classes: list[str], images: np.ndarray) -> None:
        """Fill ``per_class`` and ``table``; ``images (C,)`` is how many each class has."""
        answers, right = self.confusion.sum(0), self.confusion.diagonal()
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
        rows = [[entry.get(column, '') for column in columns] for entry in (whole, *shown)]
        self.table = text_table(columns, rows)
