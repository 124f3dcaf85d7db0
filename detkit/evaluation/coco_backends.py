"""The packages that match predictions with objects and accumulate precision and recall as COCO does."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy as np

from detkit.evaluation.instance_columns import InstanceColumns
from detkit.utils.errors import ConfigError, MissingPackageError, first_line, nearest

AUTO = 'auto'


@dataclass(frozen=True)
class CocoComparison:
    """The input of an evaluation.

    Attributes:
        truth: the objects.
        found: the predictions.
        shapes: (h, w) of each image.
        num_classes: K.
        iou_type: what is compared: 'bbox', 'segm' or 'keypoints'.
        max_dets: numbers of predictions of an image and class that count, ascending.
        by_class: compare within classes; otherwise all are one.
        sigmas: of the keypoints, ``(K,)``, where those are compared.
    """

    truth: InstanceColumns
    found: InstanceColumns
    shapes: Sequence[tuple[int, int]]
    num_classes: int
    iou_type: str
    max_dets: Sequence[int]
    by_class: bool = True
    sigmas: np.ndarray | None = None

    def datasets(self) -> list[dict[str, Any]]:
        """Return the objects and the predictions as ``coco_dataset`` does."""
        return [coco_dataset(columns, self.shapes, self.num_classes) for columns in (self.truth, self.found)]


@dataclass(frozen=True)
class CocoCurves:
    """The result of an evaluation; -1 where there is no object to find.

    Attributes:
        precision: ``(T, R, K, A, M)`` at thresholds, recalls, classes, areas and ``max_dets``.
        recall: ``(T, K, A, M)``.
        iou_thrs: ``(T,)``.
    """

    precision: np.ndarray
    recall: np.ndarray
    iou_thrs: np.ndarray


@dataclass(frozen=True)
class CocoBackend:
    """A package that evaluates.

    Attributes:
        module: its name for ``import``.
        least: the oldest release whose results were compared with pycocotools', for ``'auto'`` and for what it needs.
        evaluate: runs it.
        keeps_threads: its threads wait for the next evaluation, so that it hangs in a process that was forked after the
            first.
    """

    module: str
    least: tuple[int, ...]
    evaluate: Callable[[ModuleType, CocoComparison], CocoCurves]
    keeps_threads: bool = False


def choose_backend(name: str) -> str:
    """Return the name of an installed backend: the fastest for 'auto'.

    Raises:
        ConfigError: there is no such backend.
        MissingPackageError: it is not installed, or too old.
    """
    if name == AUTO:
        return next(each for each in BACKENDS if not _shortcoming(each))
    if name not in BACKENDS:
        choices = (AUTO, *BACKENDS)
        raise ConfigError(
            f'CocoMetric: backend is {name!r}, but must be of {", ".join(map(repr, choices))}.{nearest(name, choices)}'
        )
    shortcoming = _shortcoming(name)
    if shortcoming:
        raise MissingPackageError(
            f"CocoMetric: backend is {name!r}, {shortcoming}; install it by pip install --upgrade 'detkit[eval]', or "
            "set backend='auto'"
        )
    return name


def evaluate_coco(name: str, comparison: CocoComparison) -> CocoCurves:
    """Return precision and recall by a backend that ``choose_backend`` has returned; it prints nothing.

    A process that was forked from one that has evaluated takes pycocotools where this backend would hang.
    """
    if BACKENDS[name].keeps_threads and _threads_of.setdefault(name, os.getpid()) != os.getpid():
        name = 'pycocotools'
    backend = BACKENDS[name]
    with contextlib.redirect_stdout(io.StringIO()):
        return backend.evaluate(importlib.import_module(backend.module), comparison)


def _shortcoming(name: str) -> str:
    """Return what keeps a backend from being used; '' for nothing."""
    backend = BACKENDS[name]
    if importlib.util.find_spec(backend.module) is None:
        return 'which is not installed'
    if not backend.least:
        return ''
    try:
        version = _release(name)
    except metadata.PackageNotFoundError:  # a folder of that name
        return 'which is not installed'
    if tuple(int(part) for part in re.findall('[0-9]+', version)[: len(backend.least)]) < backend.least:
        return f'whose release {version} is older than {".".join(map(str, backend.least))}'
    try:
        importlib.import_module(backend.module)
    except ImportError as error:  # built for another NumPy, or another system
        return f'which cannot be imported ({first_line(error)})'
    return ''


@functools.cache
def _release(name: str) -> str:
    """Return the release of an installed distribution; looking it up takes milliseconds."""
    return metadata.version(name)


def coco_dataset(columns: InstanceColumns, shapes: Sequence[tuple[int, int]], num_classes: int) -> dict[str, Any]:
    """Return the dataset of objects or predictions that pycocotools reads from a json.

    Images and annotations are numbered from 1, since pycocotools takes a match with number 0 for none; category ids are
    labels. An object of which no keypoint is labelled says so, and is ignored.

    Args:
        columns: the rows.
        shapes: (h, w) of each image.
        num_classes: the number of categories.
    """
    values: dict[str, Sequence] = {
        'id': range(1, len(columns) + 1),
        'image_id': (columns.images + 1).tolist(),
        'category_id': columns.labels.tolist(),
        'bbox': columns.bboxes_xywh.tolist(),
        'area': columns.areas.tolist(),
        'iscrowd': columns.ignored.astype(np.int64).tolist(),
    }
    if columns.scores is not None:
        values['score'] = columns.scores.tolist()
    if columns.masks is not None:
        values['segmentation'] = columns.masks
    if columns.keypoints is not None:
        values['keypoints'] = columns.keypoints.reshape(len(columns), 3 * columns.keypoints.shape[1]).tolist()
        values['num_keypoints'] = (columns.keypoints[..., 2] > 0).sum(1).tolist()
    return {
        'info': {},
        'images': [{'id': number, 'height': h, 'width': w} for number, (h, w) in enumerate(shapes, 1)],
        'annotations': [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)],
        'categories': [{'id': label, 'name': str(label)} for label in range(num_classes)],
    }


def _evaluate_hotcoco(package: ModuleType, comparison: CocoComparison) -> CocoCurves:
    """Evaluate from arrays; keypoints, which those do not hold, from dicts."""
    truth, found = comparison.truth, comparison.found
    if comparison.iou_type == 'keypoints':
        sides = [package.COCO(dataset) for dataset in comparison.datasets()]
        return _run(package.COCOeval(*sides, 'keypoints'), comparison)
    own = package.COCO.from_arrays(
        [{'id': number, 'height': h, 'width': w} for number, (h, w) in enumerate(comparison.shapes, 1)],
        [{'id': label, 'name': str(label)} for label in range(comparison.num_classes)],
        truth.images + 1,
        truth.labels,
        truth.bboxes_xywh,
        ids=np.arange(1, len(truth) + 1),
        area=truth.areas,
        iscrowd=truth.ignored.astype(np.int64),
        segmentation=truth.masks,
    )
    rows = np.column_stack([found.images + 1, found.bboxes_xywh, found.scores, found.labels])
    predictions = own.load_res(rows, segmentation=found.masks)
    if found.masks is not None and len(found):  # which has set the areas of the boxes
        predictions.update_anns(ids=np.arange(1, len(found) + 1), area=found.areas)
    return _run(package.COCOeval(own, predictions, comparison.iou_type), comparison)


def _evaluate_faster_coco_eval(package: ModuleType, comparison: CocoComparison) -> CocoCurves:
    return _evaluate_entries(package.COCO, package.COCOeval_faster, comparison)


def _evaluate_pycocotools(package: ModuleType, comparison: CocoComparison) -> CocoCurves:
    del package  # has its parts in modules
    dataset = importlib.import_module('pycocotools.coco').COCO
    return _evaluate_entries(dataset, importlib.import_module('pycocotools.cocoeval').COCOeval, comparison)


def _evaluate_entries(dataset: type, evaluator: type, comparison: CocoComparison) -> CocoCurves:
    """Evaluate by classes with pycocotools' interface, which take a dict for each object."""
    sides = []
    for content in comparison.datasets():
        side = dataset()
        side.dataset = content
        side.createIndex()
        sides.append(side)
    return _run(evaluator(*sides, comparison.iou_type), comparison)


def _run(evaluation: Any, comparison: CocoComparison) -> CocoCurves:
    """Run an evaluator with pycocotools' interface."""
    evaluation.params.maxDets = list(comparison.max_dets)
    evaluation.params.catIds = list(range(comparison.num_classes))  # also those without an object
    evaluation.params.useCats = int(comparison.by_class)
    if comparison.sigmas is not None:
        evaluation.params.kpt_oks_sigmas = comparison.sigmas
    evaluation.evaluate()
    evaluation.accumulate()
    # One layout, so that sums over them are the same to the last bit.
    return CocoCurves(
        precision=np.ascontiguousarray(evaluation.eval['precision']),
        recall=np.ascontiguousarray(evaluation.eval['recall']),
        iou_thrs=np.asarray(evaluation.params.iouThrs),
    )


# The fastest first.
BACKENDS = {
    'hotcoco': CocoBackend('hotcoco', (1, 3), _evaluate_hotcoco, keeps_threads=True),
    'faster-coco-eval': CocoBackend('faster_coco_eval', (1, 8), _evaluate_faster_coco_eval),
    'pycocotools': CocoBackend('pycocotools', (), _evaluate_pycocotools),
}
# The process in which a backend that keeps threads has run first.
_threads_of: dict[str, int] = {}
