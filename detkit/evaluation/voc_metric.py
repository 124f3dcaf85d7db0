"""``VOCMetric``: PASCAL VOC's average precision of boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from detkit.evaluation.average_precision import average_precision, match_voc
from detkit.evaluation.coco_format import write_results
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.registry import METRICS
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError
from detkit.utils.tables import text_table

_CURVES = {'': 'area', '-voc07': 'voc07'}  # ending of a figure's name -> how its curve is measured


@METRICS.register_module()
class VOCMetric(GatheredMetric):
    """Average precision as the VOC devkit defines it (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf).

    ``voc/mAP50`` is the mean over the classes of the area under the precision-recall curve (VOC2010 and later);
    ``voc/mAP50-voc07`` takes the curve at 11 recalls (VOC2007 to 2009). A prediction belongs to the object of its class
    that it overlaps most, even if another one has found that before; then it is a mistake. Difficult objects
    (``ignored``) are neither asked for nor a mistake to find. Figures are fractions; without any object they are -1.

    After an evaluation ``per_class`` (a list of dicts) and ``table`` (text) hold the figures of every class that has
    ground truth, on the main process.

    Args:
        iou_thrs: the least overlap of a match, VOC's is .5; a figure of each, ``mAP50``, ``mAP75``, ….
        classwise: make the per-class table.
        outfile: where to write the predictions as COCO's results file (json), or None.
        submission_dir: where to write the files that VOC's server takes, one a class, or None.
        collect_device: unused but for mmengine's interface; results are gathered as objects.
        prefix: in place of 'voc'.

    Raises:
        ConfigError: a threshold outside (0, 1], or none.
    """

    default_prefix = 'voc'
    headline = ('mAP50',)
    charts = {'voc average precision': ('mAP50', 'mAP75', 'mAP50-voc07', 'mAP75-voc07')}
    fitness_weights = {'mAP50': 0.1}  # as in CocoMetric's, so that the two can be summed
    needs = ('bbox',)

    def __init__(
        self,
        iou_thrs: float | Sequence[float] = 0.5,
        classwise: bool = True,
        outfile: str | None = None,
        submission_dir: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, int | float) else list(iou_thrs)
        if not self.iou_thrs or not all(0 < thr <= 1 for thr in self.iou_thrs):
            raise ConfigError(f'VOCMetric: iou_thrs is {iou_thrs}, but must be numbers in (0, 1].')
        self.classwise = classwise
        self.outfile = outfile
        self.submission_dir = submission_dir
        self.per_class: list[dict[str, Any]] = []
        self.table = ''

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        """The figures without prefix."""
        self.per_class, self.table = [], ''
        if not results:
            print_log('VOCMetric has seen no image: there is nothing to evaluate.', 'current', logging.WARNING)
            return {}
        classes = self.class_names(results)
        if self.outfile:
            category_ids = (self.dataset_meta or {}).get('category_ids') or range(1, len(classes) + 1)
            write_results(results, category_ids, self.outfile)
        if self.submission_dir:
            write_submission(results, classes, self.submission_dir)
        truths = [result.gt_instances for result in results]
        objects = sum(np.bincount(gt.labels[~gt.ignored], minlength=len(classes)) for gt in truths)
        precisions = self._measure(results, objects)
        figures = {
            name: float(values[objects > 0].mean()) if objects.any() else -1.0 for name, values in precisions.items()
        }
        if self.classwise:
            self._make_table(results, classes, objects, precisions, figures)
        return figures

    def _measure(self, results: Sequence[DetDataSample], objects: np.ndarray) -> dict[str, np.ndarray]:
        """Of each figure the average precision of each class ``(C,)``; -1 where there are no objects."""
        found: list[list[np.ndarray]] = [[] for _ in objects]
        scores: list[list[np.ndarray]] = [[] for _ in objects]
        # The devkit takes an overlap that equals the threshold, the matching what exceeds it.
        bounds = [np.nextafter(thr, 0) for thr in self.iou_thrs]
        for result in results:
            gt, pred = result.gt_instances, result.pred_instances
            order = np.argsort(-pred.scores, kind='stable')
            for label in np.unique(pred.labels):
                rows, columns = order[pred.labels[order] == label], gt.labels == label
                overlaps = pairwise_iou(pred.bboxes[rows].astype(np.float64), gt.bboxes[columns].astype(np.float64))
                found[label].append(np.stack([match_voc(overlaps, gt.ignored[columns], bound) for bound in bounds]))
                scores[label].append(pred.scores[rows])
        figures = {
            f'mAP{100 * thr:.3g}{ending}': np.full(len(objects), -1.0) for thr in self.iou_thrs for ending in _CURVES
        }
        for label in np.flatnonzero(objects):
            order = np.argsort(-np.concatenate(scores[label] or [np.zeros(0)]), kind='stable')
            table = np.concatenate(found[label] or [np.zeros((len(bounds), 0), np.int8)], 1)[:, order]  # (T, D)
            values = [average_precision(row, objects[label], curve) for row in table for curve in _CURVES.values()]
            for figure, value in zip(figures.values(), values, strict=True):
                figure[label] = value
        return figures

    def _make_table(
        self,
        results: Sequence[DetDataSample],
        classes: Sequence[str],
        objects: np.ndarray,
        precisions: dict[str, np.ndarray],
        figures: dict[str, float],
    ) -> None:
        """Fill ``per_class`` and ``table``."""
        images = np.bincount(
            np.concatenate([np.unique(r.gt_instances.labels[~r.gt_instances.ignored]) for r in results]),
            minlength=len(classes),
        )
        self.per_class.append({'class': 'all', 'images': len(results), 'objects': int(objects.sum()), **figures})
        for k in np.flatnonzero(objects):
            own = {name: float(values[k]) for name, values in precisions.items()}
            self.per_class.append({'class': classes[k], 'images': int(images[k]), 'objects': int(objects[k]), **own})
        self.table = text_table(list(self.per_class[0]), [list(entry.values()) for entry in self.per_class])


def write_submission(results: Sequence[DetDataSample], classes: Sequence[str], folder: str | Path) -> list[Path]:
    """Writes the files of VOC's detection task: one a class, ``<image> <score> xmin ymin xmax ymax`` a line.

    Pixels are counted from 1 there, the last one included.

    Returns:
        the files, one for each class, empty ones too.
    """
    lines: list[list[str]] = [[] for _ in classes]
    for result in results:
        pred = result.pred_instances
        bboxes = pred.bboxes + [1, 1, 0, 0]
        for bbox, label, score in zip(bboxes.tolist(), pred.labels.tolist(), pred.scores.tolist(), strict=True):
            lines[label].append(f'{result.img_id} {score:.6f} ' + ' '.join(f'{value:.2f}' for value in bbox))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, own in zip(classes, lines, strict=True):
        files.append(folder / f'comp4_det_test_{name}.txt')
        files[-1].write_text(''.join(f'{line}\n' for line in own), encoding='utf-8')
    return files
