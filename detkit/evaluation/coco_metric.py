"""``CocoMetric``: COCO's average precision and recall of boxes, masks and keypoints."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from mmengine.logging import print_log

from detkit.evaluation.coco_format import to_coco, write_results
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.keypoints import default_sigmas
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.tables import text_table

_METRICS = ('bbox', 'segm', 'proposal', 'keypoints')
_CHARTS = {
    'bbox': 'box average precision',
    'segm': 'mask average precision',
    'keypoints': 'keypoints average precision',
}
_BACKENDS = ('pycocotools', 'faster-coco-eval')
_AREAS = ('all', 's', 'm', 'l')  # the order of COCOeval's area ranges
_KEYPOINT_AREAS = ('all', 'm', 'l')
_KEYPOINT_MAX_DETS = [20]


@METRICS.register_module()
class CocoMetric(GatheredMetric):
    """Average precision and recall as COCO defines them, crowd and area rules included.

    Ground truth is taken from the data samples, so any dataset will do. Figures are fractions; a figure without any
    object to compute it from (no small object, say) is -1, as in pycocotools.

    For ``'bbox'`` and ``'segm'``: ``{m}_mAP``, ``{m}_mAP50``, ``{m}_mAP75``, ``{m}_mAP_s``, ``_m``, ``_l`` (areas up to
    32², 96², above), ``{m}_AR{k}`` for each k of ``max_dets``, ``{m}_AR_s``, ``_m``, ``_l``. For ``'proposal'``, which
    ignores the classes: ``proposal_AR{k}`` and ``proposal_AR_s``, ``_m``, ``_l``. For ``'keypoints'``, whose overlap is
    the object keypoint similarity with the ``sigmas`` of the dataset (COCO's for 17 keypoints and 1 / K for K others
    where it has none), the best 20 predictions per image and class: ``keypoints_mAP``, ``_mAP50``, ``_mAP75``,
    ``_mAP_m``, ``_mAP_l``, and ``keypoints_AR``, ``_AR50``, ``_AR75``, ``_AR_m``, ``_AR_l``. All are prefixed with
    ``coco/``.

    After an evaluation ``per_class`` (a list of dicts) and ``table`` (text) hold the figures of every class that has
    ground truth, on the main process.

    Args:
        metric: one or several of 'bbox', 'segm', 'proposal', 'keypoints'.
        classwise: make the per-class table.
        backend: 'pycocotools', or 'faster-coco-eval', which gives the same figures sooner and must be installed.
        max_dets: numbers of predictions per image and class, ascending; average precision is taken at the last.
        outfile: where to write the predictions as COCO's results file (json), or None.
        collect_device: unused but for mmengine's interface; results are gathered as objects.
        prefix: in place of 'coco'.

    Raises:
        ConfigError: for an unknown metric or backend, or a backend that is not installed.
    """

    default_prefix = 'coco'
    headline = tuple(f'{kind}_{name}' for kind in _CHARTS for name in ('mAP', 'mAP50'))
    charts = {title: (f'{kind}_mAP', f'{kind}_mAP50', f'{kind}_mAP75') for kind, title in _CHARTS.items()}
    fitness_weights = {f'{kind}_{name}': share for kind in _CHARTS for name, share in (('mAP', 0.9), ('mAP50', 0.1))}

    def __init__(
        self,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = True,
        backend: str = 'pycocotools',
        max_dets: Sequence[int] = (1, 10, 100),
        outfile: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [metric] if isinstance(metric, str) else list(metric)
        for name in self.metrics:
            if name not in _METRICS:
                raise ConfigError(
                    f'CocoMetric: metric is {name!r}, but must be of {", ".join(map(repr, _METRICS))}.'
                    f'{nearest(name, _METRICS)}'
                )
        self.max_dets = [int(count) for count in max_dets]
        if not self.max_dets or self.max_dets != sorted(set(self.max_dets)) or self.max_dets[0] < 1:
            raise ConfigError(f'CocoMetric: max_dets is {list(max_dets)}, but must be positive and ascending.')
        self.backend = _load_backend(backend)
        self.classwise = classwise
        self.outfile = outfile
        self.per_class: list[dict[str, Any]] = []
        self.table = ''

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(name for name in self.metrics if name != 'proposal') or ('bbox',)

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        """The figures without prefix."""
        self.per_class, self.table = [], ''
        if not results:
            print_log('CocoMetric has seen no image: there is nothing to evaluate.', 'current', logging.WARNING)
            return {}
        classes = self.class_names(results)
        if self.outfile:
            category_ids = (self.dataset_meta or {}).get('category_ids') or range(1, len(classes) + 1)
            write_results(results, category_ids, self.outfile)
        figures, evaluations = {}, {}
        for name in self.metrics:
            evaluations[name] = self._run(results, len(classes), name)
            figures |= self._figures(evaluations[name], name)
        if self.classwise:
            self._make_table(results, classes, {k: v for k, v in evaluations.items() if k != 'proposal'})
        return figures

    def _run(self, results: list[DetDataSample], class_count: int, name: str) -> SimpleNamespace:
        """Evaluate one metric: ``precision (T, R, K, A, M)`` and ``recall (T, K, A, M)`` of thresholds, recalls,
        classes, areas and ``max_dets``."""
        iou_type = 'bbox' if name == 'proposal' else name
        with contextlib.redirect_stdout(io.StringIO()):
            sides = []
            for predictions in (False, True):
                side = self.backend.COCO()
                side.dataset = to_coco(results, class_count, predictions, iou_type)
                side.createIndex()
                sides.append(side)
            evaluation = self.backend.COCOeval(*sides, iou_type)
            evaluation.params.maxDets = list(self.max_dets)
            if name == 'keypoints':
                evaluation.params.maxDets = _KEYPOINT_MAX_DETS
                evaluation.params.kpt_oks_sigmas = self._sigmas(results)
            evaluation.params.useCats = int(name != 'proposal')
            evaluation.evaluate()
            evaluation.accumulate()
        return SimpleNamespace(
            precision=np.asarray(evaluation.eval['precision']),
            recall=np.asarray(evaluation.eval['recall']),
            iou_thrs=evaluation.params.iouThrs,
        )

    def _sigmas(self, results: list[DetDataSample]) -> np.ndarray:
        """``(K,)``, of the dataset."""
        pairs = [(r.gt_instances.keypoints, r.pred_instances.keypoints) for r in results]
        num_keypoints = max(keypoints.shape[1] for pair in pairs for keypoints in pair)
        sigmas = (self.dataset_meta or {}).get('sigmas') or default_sigmas(num_keypoints)
        for result, pair in zip(results, pairs, strict=True):
            for keypoints, what in zip(pair, ('ground truth', 'predictions'), strict=True):
                if len(keypoints) and keypoints.shape[1] != len(sigmas):
                    raise ConfigError(
                        f"CocoMetric(metric='keypoints'): the dataset has sigmas of {len(sigmas)} keypoints, but the "
                        f"{what} of '{result.img_path}' {keypoints.shape[1]} keypoints"
                    )
        return np.asarray(sigmas, np.float64)

    def _figures(self, evaluation: SimpleNamespace, name: str) -> dict[str, float]:
        precision, recall = evaluation.precision, evaluation.recall
        if name == 'keypoints':
            return self._keypoint_figures(evaluation)
        figures = {}
        if name != 'proposal':
            figures['mAP'] = _mean(precision[:, :, :, 0, -1])
            for percent in (50, 75):
                figures[f'mAP{percent}'] = _mean(precision[np.isclose(evaluation.iou_thrs, percent / 100), :, :, 0, -1])
            figures |= {f'mAP_{area}': _mean(precision[:, :, :, i, -1]) for i, area in enumerate(_AREAS) if i}
        figures |= {f'AR{count}': _mean(recall[:, :, 0, i]) for i, count in enumerate(self.max_dets)}
        figures |= {f'AR_{area}': _mean(recall[:, :, i, -1]) for i, area in enumerate(_AREAS) if i}
        return {f'{name}_{key}': value for key, value in figures.items()}

    def _keypoint_figures(self, evaluation: SimpleNamespace) -> dict[str, float]:
        """COCO's ten."""
        figures = {}
        for figure, values in (('mAP', evaluation.precision), ('AR', evaluation.recall)):
            figures[figure] = _mean(values[..., 0, -1])
            for percent in (50, 75):
                chosen = np.isclose(evaluation.iou_thrs, percent / 100)
                figures[f'{figure}{percent}'] = _mean(values[chosen][..., 0, -1])
            figures |= {f'{figure}_{area}': _mean(values[..., i, -1]) for i, area in enumerate(_KEYPOINT_AREAS) if i}
        return {f'keypoints_{key}': value for key, value in figures.items()}

    def _make_table(
        self, results: list[DetDataSample], classes: list[str], evaluations: dict[str, SimpleNamespace]
    ) -> None:
        """Fill ``per_class`` and ``table``."""
        kept = [gt.labels[~gt.ignored] for gt in (result.gt_instances for result in results)]
        objects = np.bincount(np.concatenate(kept), minlength=len(classes))
        images = np.bincount(np.concatenate([np.unique(labels) for labels in kept]), minlength=len(classes))
        chosen = {'all': slice(None)} | {classes[k]: slice(k, k + 1) for k in np.flatnonzero(objects)}
        for row, (name, columns) in enumerate(chosen.items()):
            entry = {
                'class': name,
                'images': len(results) if row == 0 else int(images[columns][0]),
                'objects': int(objects.sum()) if row == 0 else int(objects[columns][0]),
            }
            for metric, evaluation in evaluations.items():
                precision = evaluation.precision[:, :, columns, 0, -1]
                entry[f'{metric}_mAP'] = _mean(precision)
                entry[f'{metric}_mAP50'] = _mean(precision[np.isclose(evaluation.iou_thrs, 0.5)])
            self.per_class.append(entry)
        header = [key.replace('_', ' ') for key in self.per_class[0]]
        self.table = text_table(header, [list(entry.values()) for entry in self.per_class])


def _load_backend(name: str) -> SimpleNamespace:
    """``COCO`` and ``COCOeval`` of the chosen package."""
    if name == 'pycocotools':
        return SimpleNamespace(
            COCO=importlib.import_module('pycocotools.coco').COCO,
            COCOeval=importlib.import_module('pycocotools.cocoeval').COCOeval,
        )
    if name == 'faster-coco-eval':
        try:
            package = importlib.import_module('faster_coco_eval')
        except ImportError as error:
            raise ConfigError(
                "CocoMetric: backend is 'faster-coco-eval', which is not installed. Install it with "
                "'pip install faster-coco-eval', or set backend='pycocotools'."
            ) from error
        return SimpleNamespace(COCO=package.COCO, COCOeval=package.COCOeval_faster)
    raise ConfigError(
        f'CocoMetric: backend is {name!r}, but must be of {", ".join(map(repr, _BACKENDS))}.{nearest(name, _BACKENDS)}'
    )


def _mean(values: np.ndarray) -> float:
    """Of the defined values (COCOeval marks the others with -1), or -1 when there is none."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0
