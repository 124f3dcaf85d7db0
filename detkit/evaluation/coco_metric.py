"""``CocoMetric``: COCO's average precision and recall of boxes, masks and keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detkit.evaluation.coco_backends import CocoComparison, CocoCurves, choose_backend, evaluate_coco
from detkit.evaluation.coco_format import write_results
from detkit.evaluation.gathered_metric import GatheredMetric, instance_labels
from detkit.evaluation.instance_columns import gather_columns
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.keypoints import default_sigmas
from detkit.utils.errors import ConfigError, nearest

_METRICS = ('bbox', 'segm', 'proposal', 'keypoints')
_CHARTS = {
    'bbox': 'box average precision',
    'segm': 'mask average precision',
    'keypoints': 'keypoints average precision',
}
_AREAS = ('all', 's', 'm', 'l')  # the order of COCOeval's area ranges
_KEYPOINT_AREAS = ('all', 'm', 'l')
_KEYPOINT_MAX_DETS = [20]


@METRICS.register_module()
class CocoMetric(GatheredMetric):
    """Average precision and recall as COCO defines them, crowd and area rules included.

    Ground truth is taken from the data samples, so any dataset will do. Results are fractions; one without any object
    to compute it from (no small object, say) is -1, as in pycocotools.

    For ``'bbox'`` and ``'segm'``: ``{m}_mAP``, ``{m}_mAP50``, ``{m}_mAP75``, ``{m}_mAP_s``, ``_m``, ``_l`` (areas up to
    32², 96², above), ``{m}_AR{k}`` for each k of ``max_dets``, ``{m}_AR_s``, ``_m``, ``_l``. For ``'proposal'``, which
    ignores the classes: ``proposal_AR{k}`` and ``proposal_AR_s``, ``_m``, ``_l``. For ``'keypoints'``, whose overlap is
    the object keypoint similarity with the ``sigmas`` of the dataset (COCO's for 17 keypoints and 1 / K for K others
    where it has none), the best 20 predictions per image and class: ``keypoints_mAP``, ``_mAP50``, ``_mAP75``,
    ``_mAP_m``, ``_mAP_l``, and ``keypoints_AR``, ``_AR50``, ``_AR75``, ``_AR_m``, ``_AR_l``; where an unmatched
    prediction counts is decided by the area of its box, as in pycocotools for results with a ``bbox`` (for others, by
    the box around their keypoints). All are prefixed with ``coco/``.

    Args:
        metric: one or several of 'bbox', 'segm', 'proposal', 'keypoints'.
        classwise, prefix: as in ``GatheredMetric``.
        backend: the package that computes the results, which are the same by all: 'hotcoco', 'faster-coco-eval',
            'pycocotools', or 'auto' for the first of these, the fastest, that is installed. The attribute holds the
            chosen one.
        max_dets: numbers of predictions per image and class, ascending; average precision is taken at the last.
        outfile: where to write the predictions as COCO's results file (json), or None.

    Raises:
        ConfigError: for an unknown metric or backend.
        MissingPackageError: the backend is not installed, or too old.
    """

    default_prefix = 'coco'
    headline = tuple(f'{kind}_{name}' for kind in _CHARTS for name in ('mAP', 'mAP50'))
    charts = {title: (f'{kind}_mAP', f'{kind}_mAP50', f'{kind}_mAP75') for kind, title in _CHARTS.items()}
    fitness_weights = {f'{kind}_{name}': share for kind in _CHARTS for name, share in (('mAP', 0.9), ('mAP50', 0.1))}

    def __init__(
        self,
        metric: str | Sequence[str] = 'bbox',
        classwise: bool = True,
        backend: str = 'auto',
        max_dets: Sequence[int] = (1, 10, 100),
        outfile: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(classwise, outfile, prefix)
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
        self.backend = choose_backend(backend)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(name for name in self.metrics if name != 'proposal') or ('bbox',)

    def compute_metrics(self, results: list[DetDataSample]) -> dict[str, float]:
        classes = self.class_names(instance_labels(results))
        if self.outfile:
            write_results(results, self.category_ids(len(classes)), self.outfile)
        metrics, overall, of_class = {}, {}, {}
        ordered = _in_order_of_ids(results)
        for name in self.metrics:
            evaluation = self._run(ordered, len(classes), name)
            metrics |= _results(evaluation, name, self.max_dets)
            if name != 'proposal':
                precision = evaluation.precision[:, :, :, 0, -1]  # (T, R, K)
                at_50 = precision[np.isclose(evaluation.iou_thrs, 0.5)]
                for key, values in ((f'{name}_mAP', precision), (f'{name}_mAP50', at_50)):
                    overall[key] = _mean(values)
                    of_class[key] = np.array([_mean(values[:, :, k]) for k in range(len(classes))])
        if self.classwise:
            self.tabulate(results, classes, overall, of_class)
        return metrics

    def _run(self, results: list[DetDataSample], class_count: int, name: str) -> CocoCurves:
        """Evaluate one metric."""
        iou_type = 'bbox' if name == 'proposal' else name
        keypoints = name == 'keypoints'
        comparison = CocoComparison(
            truth=gather_columns(results, False, iou_type),
            found=gather_columns(results, True, iou_type),
            shapes=[result.ori_shape for result in results],
            num_classes=class_count,
            iou_type=iou_type,
            max_dets=_KEYPOINT_MAX_DETS if keypoints else self.max_dets,
            by_class=name != 'proposal',
            sigmas=self._sigmas(results) if keypoints else None,
        )
        return evaluate_coco(self.backend, comparison)

    def _sigmas(self, results: list[DetDataSample]) -> np.ndarray:
        """Return the sigmas of the dataset's keypoints, ``(K,)``."""
        pairs = [(r.gt_instances.keypoints, r.pred_instances.keypoints) for r in results]
        num_keypoints = max(keypoints.shape[1] for pair in pairs for keypoints in pair)
        sigmas = (self.dataset_meta or {}).get('sigmas') or default_sigmas(num_keypoints)
        for result, pair in zip(results, pairs, strict=True):
            for keypoints, what in zip(pair, ('ground truth', 'predictions'), strict=True):
                if len(keypoints) and keypoints.shape[1] != len(sigmas):
                    raise ConfigError(
                        f"CocoMetric(metric='keypoints'): the dataset has sigmas of {len(sigmas)} keypoints, but the "
                        f"{what} of '{result.img_path}' {keypoints.shape[1]} keypoints"
                        '; test on data with the keypoints that the model was trained on'
                    )
        return np.asarray(sigmas, np.float64)


def _in_order_of_ids(results: Sequence[DetDataSample]) -> Sequence[DetDataSample]:
    """Return samples as pycocotools orders the images of a file, by which predictions of equal scores are ranked."""
    ids = [result.img_id for result in results]
    if all(isinstance(img_id, int | float) for img_id in ids) or all(isinstance(img_id, str) for img_id in ids):
        return sorted(results, key=lambda result: result.img_id)
    return results


def _results(evaluation: CocoCurves, name: str, max_dets: Sequence[int]) -> dict[str, float]:
    """Return the results that COCO defines for 'bbox', 'segm', 'proposal' or 'keypoints'."""
    precision, recall = evaluation.precision, evaluation.recall
    areas = _KEYPOINT_AREAS if name == 'keypoints' else _AREAS
    columns: dict[str, np.ndarray] = {}
    for key, values in (('mAP', precision), ('AR', recall)):
        if key == 'mAP' and name == 'proposal':
            continue
        if key == 'mAP' or name == 'keypoints':
            columns[key] = values[..., 0, -1]
            for percent in (50, 75):
                columns[f'{key}{percent}'] = values[np.isclose(evaluation.iou_thrs, percent / 100)][..., 0, -1]
        else:
            columns |= {f'{key}{count}': values[..., 0, i] for i, count in enumerate(max_dets)}
        columns |= {f'{key}_{area}': values[..., i, -1] for i, area in enumerate(areas) if i}
    return {f'{name}_{key}': _mean(values) for key, values in columns.items()}


def _mean(values: np.ndarray) -> float:
    """Return the mean of the defined values (COCOeval marks the others with -1), or -1 when there is none."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0
