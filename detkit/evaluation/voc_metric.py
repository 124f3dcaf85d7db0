"""``VOCMetric``: PASCAL VOC's average precision of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detkit.evaluation.average_precision import average_precision, match_voc, rank_outcomes
from detkit.evaluation.coco_format import write_class_files, write_results
from detkit.evaluation.gathered_metric import GatheredMetric, count_objects, instance_labels
from detkit.registry import METRICS
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError

_CURVES = {'': 'area', '-voc07': 'voc07'}  # ending of a result's name -> interpolation of its curve


@METRICS.register_module()
class VOCMetric(GatheredMetric):
    """Average precision as the VOC devkit defines it (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf).

    ``voc/mAP50`` is the mean over the classes of the area under the precision-recall curve (VOC2010 and later);
    ``voc/mAP50-voc07`` takes the curve at 11 recalls (VOC2007 to 2009). A prediction belongs to the object of its class
    that it overlaps most, even if another one has found that before; then it is a mistake. Difficult objects
    (``ignored``) count neither as missed nor as a mistake to find. Results are fractions; without any object they are
    -1.

    Args:
        iou_thrs: the least overlap of a match, VOC's is .5; each gives a result, ``mAP50``, ``mAP75``, ….
        classwise, prefix: as in ``GatheredMetric``.
        outfile: where to write the predictions as COCO's results file (json), or None.
        submission_dir: where to write the files that VOC's server takes, one a class, or None.

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
        prefix: str | None = None,
    ) -> None:
        super().__init__(classwise, outfile, prefix)
        self.iou_thrs = [iou_thrs] if isinstance(iou_thrs, int | float) else list(iou_thrs)
        if not self.iou_thrs or not all(0 < thr <= 1 for thr in self.iou_thrs):
            raise ConfigError(f'VOCMetric: iou_thrs is {iou_thrs}, but must be numbers in (0, 1].')
        self.submission_dir = submission_dir

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        classes = self.class_names(instance_labels(results))
        if self.outfile:
            write_results(results, self.category_ids(len(classes)), self.outfile)
        if self.submission_dir:
            write_submission(results, classes, self.submission_dir)
        objects, _ = count_objects(results, len(classes))
        of_class = self._measure(results, objects)
        metrics = {
            name: float(values[objects > 0].mean()) if objects.any() else -1.0 for name, values in of_class.items()
        }
        if self.classwise:
            self.tabulate(results, classes, metrics, of_class)
        return metrics

    def _measure(self, results: Sequence[DetDataSample], objects: np.ndarray) -> dict[str, np.ndarray]:
        """Return the average precision of each class ``(C,)`` by the results' names; -1 where there are no objects."""
        parts: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in objects]
        # The devkit takes an overlap that equals the threshold, the matching what exceeds it.
        bounds = [np.nextafter(thr, 0) for thr in self.iou_thrs]
        for result in results:
            gt, pred = result.gt_instances, result.pred_instances
            order = np.argsort(-pred.scores, kind='stable')
            for label in np.unique(pred.labels):
                rows, columns = order[pred.labels[order] == label], gt.labels == label
                overlaps = pairwise_iou(pred.bboxes[rows].astype(np.float64), gt.bboxes[columns].astype(np.float64))
                outcomes = np.stack([match_voc(overlaps, gt.ignored[columns], bound) for bound in bounds])
                parts[label].append((pred.scores[rows], outcomes))
        of_class = {
            f'mAP{100 * thr:.3g}{ending}': np.full(len(objects), -1.0) for thr in self.iou_thrs for ending in _CURVES
        }
        for label in np.flatnonzero(objects):
            ranked = rank_outcomes(parts[label], len(bounds))
            values = [average_precision(row, objects[label], curve) for row in ranked for curve in _CURVES.values()]
            for column, value in zip(of_class.values(), values, strict=True):
                column[label] = value
        return of_class


def write_submission(results: Sequence[DetDataSample], classes: Sequence[str], folder: str | Path) -> list[Path]:
    """Write the files of VOC's detection task: one a class, ``<image> <score> xmin ymin xmax ymax`` a line.

    Pixels are counted from 1 there, the last one included.

    Returns:
        The files, one for each class, empty ones too.
    """
    lines: list[list[str]] = [[] for _ in classes]
    for result in results:
        pred = result.pred_instances
        bboxes = pred.bboxes + [1, 1, 0, 0]
        for bbox, label, score in zip(bboxes.tolist(), pred.labels.tolist(), pred.scores.tolist(), strict=True):
            lines[label].append(f'{result.img_id} {score:.6f} ' + ' '.join(f'{value:.2f}' for value in bbox))
    return write_class_files(lines, classes, folder, 'comp4_det_test_{}.txt')
