"""``DOTAMetric``: average precision of rotated boxes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from detkit.evaluation.average_precision import average_precision, match_coco, match_voc
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.evaluation.rotated_format import rotated_entries, write_submission
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.rotated_iou import pairwise_rotated_iou
from detkit.utils.tables import text_table

_IOU_THRS = np.arange(50, 100, 5) / 100


@METRICS.register_module()
class DOTAMetric(GatheredMetric):
    """Average precision of rotated boxes by the exact overlap of the rectangles; ``dota/mAP``, ….

    ``mAP``, ``mAP50`` and ``mAP75`` are COCO's: means over the classes (that have objects) of the precision at 101
    recalls, over the IoUs .50, .55 … .95, at .5 and at .75. ``mAP50-voc07`` is the figure of DOTA's server
    (arXiv:1711.10398): VOC's matching and 11 recalls, at IoU .5. Difficult objects are neither asked for nor a mistake
    to find. Figures are fractions; without any object they are -1.

    After an evaluation ``per_class`` (a list of dicts) and ``table`` (text) hold the figures of every class that has
    ground truth, on the main process.

    Args:
        classwise: make the per-class table.
        outfile: where to write the predictions as json, with ``rbbox`` and ``corners``, or None.
        submission_dir: where to write the files that DOTA's server takes, predictions on tiles merged, or None.
        merge_iou_thr: see ``merge_tiles``.
        collect_device: unused but for mmengine's interface; results are gathered as objects.
        prefix: in place of 'dota'.
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
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.classwise = classwise
        self.outfile = outfile
        self.submission_dir = submission_dir
        self.merge_iou_thr = merge_iou_thr
        self.per_class: list[dict[str, Any]] = []
        self.table = ''

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        """The figures without prefix."""
        self.per_class, self.table = [], ''
        if not results:
            print_log('DOTAMetric has seen no image: there is nothing to evaluate.', 'current', logging.WARNING)
            return {}
        classes = self.class_names(results)
        if self.outfile:
            category_ids = (self.dataset_meta or {}).get('category_ids') or range(len(classes))
            Path(self.outfile).parent.mkdir(parents=True, exist_ok=True)
            Path(self.outfile).write_text(json.dumps(rotated_entries(results, category_ids)), encoding='utf-8')
        if self.submission_dir:
            write_submission(results, classes, self.submission_dir, self.merge_iou_thr)
        objects, coco, voc = self._measure(results, len(classes))
        figures = _figures(coco, voc)
        if self.classwise:
            self._make_table(results, classes, objects, coco, voc)
        return figures

    def image_result(self, sample: DetDataSample) -> DetDataSample:
        kept = super().image_result(sample)
        pred = kept.pred_instances
        kept.pred_instances = pred[np.argsort(-pred.scores, kind='stable')]  # best first, in files too
        return kept

    @staticmethod
    def _measure(results: list[DetDataSample], class_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each class the number of objects ``(C,)``, COCO's AP at each IoU ``(C, T)`` and VOC's ``(C,)``."""
        scores: list[list[np.ndarray]] = [[] for _ in range(class_count)]
        coco: list[list[np.ndarray]] = [[] for _ in range(class_count)]
        voc: list[list[np.ndarray]] = [[] for _ in range(class_count)]
        objects = np.zeros(class_count, np.int64)
        for result in results:
            gt, pred = result.gt_instances, result.pred_instances
            same = pred.labels[:, None] == gt.labels
            overlaps = pairwise_rotated_iou(
                torch.from_numpy(pred.rbboxes), torch.from_numpy(gt.rbboxes), torch.from_numpy(same)
            ).numpy()
            objects += np.bincount(gt.labels[~gt.ignored], minlength=class_count)
            for label in np.unique(pred.labels):
                rows, columns = np.flatnonzero(pred.labels == label), np.flatnonzero(gt.labels == label)
                own, ignored = overlaps[np.ix_(rows, columns)], gt.ignored[columns]
                scores[label].append(pred.scores[rows])
                coco[label].append(match_coco(own, ignored, _IOU_THRS))
                voc[label].append(match_voc(own, ignored))
        coco_ap, voc_ap = np.full((class_count, len(_IOU_THRS)), -1.0), np.full(class_count, -1.0)
        for label in np.flatnonzero(objects):
            if not scores[label]:
                coco_ap[label], voc_ap[label] = 0, 0
                continue
            order = np.argsort(-np.concatenate(scores[label]), kind='stable')
            found = np.concatenate(coco[label], 1)[:, order]
            coco_ap[label] = [average_precision(row, objects[label]) for row in found]
            voc_ap[label] = average_precision(np.concatenate(voc[label])[order], objects[label], 'voc07')
        return objects, coco_ap, voc_ap

    def _make_table(
        self, results: list[DetDataSample], classes: list[str], objects: np.ndarray, coco: np.ndarray, voc: np.ndarray
    ) -> None:
        """Fill ``per_class`` and ``table``."""
        kept = [np.unique(gt.labels[~gt.ignored]) for gt in (result.gt_instances for result in results)]
        images = np.bincount(np.concatenate(kept), minlength=len(classes))
        self.per_class.append(
            {'class': 'all', 'images': len(results), 'objects': int(objects.sum()), **_figures(coco, voc)}
        )
        for k in np.flatnonzero(objects):
            self.per_class.append(
                {
                    'class': classes[k],
                    'images': int(images[k]),
                    'objects': int(objects[k]),
                    **_figures(coco[k : k + 1], voc[k : k + 1]),
                }
            )
        self.table = text_table(list(self.per_class[0]), [list(entry.values()) for entry in self.per_class])


def _figures(coco: np.ndarray, voc: np.ndarray) -> dict[str, float]:
    """Means over the classes that have objects, of AP ``(C, T)`` and ``(C,)``."""
    columns = {'mAP': coco, 'mAP50': coco[:, :1], 'mAP75': coco[:, 5:6], 'mAP50-voc07': voc}
    return {
        name: float(values[values > -1].mean()) if (values > -1).any() else -1.0 for name, values in columns.items()
    }
