"""``DOTAMetric``: average precision of rotated boxes."""

from __future__ import annotations

import numpy as np
import torch

from detkit.evaluation.average_precision import average_precision, match_coco, match_voc, rank_outcomes
from detkit.evaluation.gathered_metric import GatheredMetric, count_objects, instance_labels
from detkit.evaluation.rotated_format import rotated_entries, write_submission
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.rotated_iou import pairwise_rotated_iou
from detkit.utils.tables import write_json

_IOU_THRS = np.arange(50, 100, 5) / 100


@METRICS.register_module()
class DOTAMetric(GatheredMetric):
    """Average precision of rotated boxes by the exact overlap of the rectangles; ``dota/mAP``, ….

    ``mAP``, ``mAP50`` and ``mAP75`` are COCO's: means over the classes (that have objects) of the precision at 101
    recalls, over the IoUs .50, .55 … .95, at .5 and at .75. ``mAP50-voc07`` is the result of DOTA's server
    (arXiv:1711.10398): VOC's matching and 11 recalls, at IoU .5. Difficult objects count neither as missed nor as a
    mistake to find. Results are fractions; without any object they are -1.

    Args:
        classwise, prefix: as in ``GatheredMetric``.
        outfile: where to write the predictions as json, with ``rbbox`` and ``corners``, or None.
        submission_dir: where to write the files that DOTA's server takes, predictions on tiles merged, or None.
        merge_iou_thr: see ``merge_tiles``.
    """

    default_prefix = 'dota'
    headline = ('mAP', 'mAP50')
    charts = {'rotated box average precision': ('mAP', 'mAP50', 'mAP75', 'mAP50-voc07')}
    fitness_weights = {'mAP': 0.9, 'mAP50': 0.1}
    needs = ('rbbox',)

    def __init__(
        self,
        classwise: bool = True,
        outfile: str | None = None,
        submission_dir: str | None = None,
        merge_iou_thr: float = 0.1,
        prefix: str | None = None,
    ) -> None:
        super().__init__(classwise, outfile, prefix)
        self.submission_dir = submission_dir
        self.merge_iou_thr = merge_iou_thr

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        classes = self.class_names(instance_labels(results))
        if self.outfile:
            write_json(self.outfile, rotated_entries(results, self.category_ids(len(classes), first=0)))
        if self.submission_dir:
            write_submission(results, classes, self.submission_dir, self.merge_iou_thr)
        of_class = self._measure(results, len(classes))
        metrics = {
            name: float(values[values > -1].mean()) if (values > -1).any() else -1.0
            for name, values in of_class.items()
        }
        if self.classwise:
            self.tabulate(results, classes, metrics, of_class)
        return metrics

    def image_result(self, sample: DetDataSample) -> DetDataSample:
        kept = super().image_result(sample)
        pred = kept.pred_instances
        kept.pred_instances = pred[np.argsort(-pred.scores, kind='stable')]  # best first, in files too
        return kept

    @staticmethod
    def _measure(results: list[DetDataSample], class_count: int) -> dict[str, np.ndarray]:
        """Return the average precision of each class ``(C,)`` by the results' names; -1 where there are no objects."""
        parts: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(class_count)]
        objects, _ = count_objects(results, class_count)
        for result in results:
            gt, pred = result.gt_instances, result.pred_instances
            same = torch.from_numpy(pred.labels[:, None] == gt.labels)
            overlaps = pairwise_rotated_iou(torch.from_numpy(pred.rbboxes), torch.from_numpy(gt.rbboxes), same).numpy()
            for label in np.unique(pred.labels):
                rows, columns = np.flatnonzero(pred.labels == label), np.flatnonzero(gt.labels == label)
                match = overlaps[np.ix_(rows, columns)], gt.ignored[columns]
                outcomes = np.concatenate([match_coco(*match, _IOU_THRS), match_voc(*match)[None]])
                parts[label].append((pred.scores[rows], outcomes))
        coco_ap, voc_ap = np.full((class_count, len(_IOU_THRS)), -1.0), np.full(class_count, -1.0)
        for label in np.flatnonzero(objects):
            *coco, voc = rank_outcomes(parts[label], len(_IOU_THRS) + 1)
            coco_ap[label] = [average_precision(row, objects[label]) for row in coco]
            voc_ap[label] = average_precision(voc, objects[label], 'voc07')
        return {
            'mAP': np.where(objects > 0, coco_ap.mean(1), -1.0),
            'mAP50': coco_ap[:, 0],
            'mAP75': coco_ap[:, 5],
            'mAP50-voc07': voc_ap,
        }
