"""``PanopticMetric``: panoptic quality of images divided into segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
from mmengine.structures import InstanceData

from detkit.evaluation.coco_format import written_images
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import segmentation_to_rle
from detkit.structures.panoptic import PanopticSegments, ids_to_rgb
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.pictures import UniqueNames
from detkit.utils.tables import text_table, write_json


@METRICS.register_module()
class PanopticMetric(GatheredMetric):
    """Panoptic quality (Kirillov et al., arXiv:1801.00868), of the dataset's classes, crowds and void as COCO counts.

    Results, as fractions: ``PQ``, ``SQ`` (the mean IoU of the segments found) and ``RQ`` (their F1), the means over all
    classes that occur, and the same of things and of stuff, ``things_PQ`` ... ``stuff_RQ``; -1 where none occurs. All
    are prefixed with ``panoptic/``.

    Args:
        classwise, prefix: as in ``GatheredMetric``.
        outfile: where to write the predictions in COCO's panoptic form, or None: the json, and beside it a folder of
            its name with a PNG an image, named as the image; '-2', ... tells those of one name apart. ``panopticapi``
            evaluates them, as does COCO's server.
    """

    default_prefix = 'panoptic'
    headline = ('PQ', 'things_PQ', 'stuff_PQ')
    charts = {'panoptic quality': ('PQ', 'SQ', 'RQ')}
    fitness_weights = {'PQ': 1.0}
    needs = ('panoptic',)

    def image_result(self, sample: DetDataSample) -> PanopticMatches:
        path, shape = sample.get('img_path') or '', tuple(int(side) for side in sample.ori_shape[:2])
        predicted = sample.get('pred_panoptic')
        if predicted is None:
            raise ConfigError(
                'PanopticMetric needs a head that divides the image into segments, such as DETRSegmentHead with '
                'stuff_labels; this one predicts none.'
            )
        truth = ground_truth_segments(sample.get('gt_instances'), shape, path)
        result = match_segments(truth, predicted)
        result.img_id, result.img_path = sample.get('img_id', path), path
        if self.outfile:
            result.segments_info = self._write_png(predicted, result)
        return result

    def compute_metrics(self, results: list[PanopticMatches]) -> dict[str, float]:
        classes = self.class_names([labels for result in results for labels in result.all_labels])
        if self.outfile:
            self._write_json(results, self.category_ids(len(classes)))
        per_class = panoptic_quality(results, len(classes))
        is_stuff = np.isin(np.arange(len(classes)), (self.dataset_meta or {}).get('stuff_labels') or ())
        metrics = {}
        for prefix, group in (('', np.ones_like(is_stuff)), ('things_', ~is_stuff), ('stuff_', is_stuff)):
            chosen = group & (per_class['count'] > 0)
            for name in ('PQ', 'SQ', 'RQ'):
                metrics[prefix + name] = float(per_class[name][chosen].mean()) if chosen.any() else -1.0
        if self.classwise:
            self._make_table(classes, is_stuff, per_class)
        return metrics

    def _make_table(self, classes: Sequence[str], is_stuff: np.ndarray, per_class: dict[str, np.ndarray]) -> None:
        for label in np.flatnonzero(per_class['count']).tolist():
            entry = {'class': classes[label], 'kind': 'stuff' if is_stuff[label] else 'thing'}
            entry |= {name: float(per_class[name][label]) for name in ('PQ', 'SQ', 'RQ')}
            entry |= {name: int(per_class[name][label]) for name in ('found', 'false', 'missed')}
            self.per_class.append(entry)
        if self.per_class:
            self.table = text_table(
                list(self.per_class[0]), [list(row.values()) for row in self.per_class], left=(0, 1)
            )

    def _first_png(self, result: PanopticMatches) -> Path:
        """Return where an image's map is written before the names of all images are known."""
        key = f'{result.img_path}\n{result.img_id}'.encode(errors='surrogateescape')
        return Path(self.outfile).with_suffix('') / f'{blake2b(key, digest_size=8).hexdigest()}.new'

    def _write_png(self, segments: PanopticSegments, result: PanopticMatches) -> list[dict]:
        """Write an image's map, and return its segments as the json lists them, with labels for category ids."""
        path = self._first_png(result)
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode('.png', ids_to_rgb(segments.index_map)[..., ::-1])
        if not done:
            raise OSError(f'{path.parent}: the segments of {result.img_path} cannot be encoded as PNG')
        path.write_bytes(data.tobytes())
        rows = zip(segments.labels.tolist(), segments.areas.tolist(), segments.scores.tolist(), strict=True)
        return [
            {'id': number, 'category_id': label, 'area': area, 'score': round(score, 6)}
            for number, (label, area, score) in enumerate(rows, 1)
            if area
        ]

    def _write_json(self, results: list[PanopticMatches], category_ids: Sequence[int]) -> None:
        """Write the json, and give the maps their names."""
        names, entries = UniqueNames(), []
        for img_id, result in written_images(results):
            name = names.name(Path(result.img_path).stem, '.png')
            first = self._first_png(result)
            first.replace(first.with_name(name))
            segments = [{**info, 'category_id': category_ids[info['category_id']]} for info in result.segments_info]
            entries.append({'image_id': img_id, 'file_name': name, 'segments_info': segments})
        write_json(self.outfile, {'annotations': entries})


def ground_truth_segments(gt: InstanceData | None, shape: tuple[int, int], path: str) -> PanopticSegments:
    """Return the segments of a data sample's ``gt_instances``.

    Args:
        gt: the ground truth.
        shape: (h, w) of the image.
        path: the path of the image, for errors.

    Raises:
        DataError: there is no ground truth, or it has no bitmaps.
    """
    if gt is None or ('masks' not in gt and len(gt.labels)):
        raise DataError(
            f"PanopticMetric needs the segments of '{path}', but its data sample has "
            f'{"no ground truth (test_mode=True gives it)" if gt is None else "boxes alone"}. Use CocoPanopticDataset '
            'with LoadSegments behind LoadImageFromFile.'
        )
    rles = [segmentation_to_rle(rle, bbox, shape) for rle, bbox in zip(gt.get('masks', ()), gt.bboxes, strict=True)]
    return PanopticSegments.from_rles(rles, np.asarray(gt.labels), shape, ignored=np.asarray(gt.ignored))


@dataclass
class PanopticMatches:
    """The segments of one image that were found, falsely predicted and missed.

    Attributes:
        labels: ``(K,)`` int64, of the true segments that were found.
        ious: ``(K,)`` float64, their overlaps.
        false_labels: the labels of the predicted segments that match none.
        missed_labels: the labels of the true segments that were not found.
        img_id, img_path: the image.
        segments_info: the predicted segments as COCO's json lists them, with labels for category ids; empty unless
            they are written.
    """

    labels: np.ndarray
    ious: np.ndarray
    false_labels: np.ndarray
    missed_labels: np.ndarray
    img_id: int | str = ''
    img_path: str = ''
    segments_info: Sequence[dict] = ()

    @property
    def all_labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The labels of found, false and missed segments."""
        return self.labels, self.false_labels, self.missed_labels


def match_segments(truth: PanopticSegments, predicted: PanopticSegments) -> PanopticMatches:
    """Compare two divisions of an image, as COCO does.

    A predicted and a true segment of one class belong together when their IoU is above one half, which no segment can
    be with two others. Predicted pixels on void (no true segment) count for no union. A predicted segment more than
    half of which lies on void or on crowds of its class is not counted as false; crowds themselves are never missed.

    Raises:
        ValueError: the two are of different sizes.
    """
    if truth.index_map.shape != predicted.index_map.shape:
        raise ValueError(f'segments of {predicted.index_map.shape} pixels, but the image has {truth.index_map.shape}')
    rows, columns = len(truth) + 1, len(predicted) + 1
    joint = truth.index_map.ravel().astype(np.int64) * columns + predicted.index_map.ravel()
    shared = np.bincount(joint, minlength=rows * columns).reshape(rows, columns)
    areas, predicted_areas = shared.sum(1)[1:], shared.sum(0)[1:]
    void, shared = shared[0, 1:], shared[1:, 1:]  # (P,), (T, P)
    same_class = truth.labels[:, None] == predicted.labels
    unions = areas[:, None] + predicted_areas - shared - void
    ious = np.divide(shared, unions, out=np.zeros(shared.shape), where=unions > 0)
    matched = same_class & ~truth.ignored[:, None] & (ious > 0.5)
    found, finds = np.nonzero(matched)
    excused = void + (shared * (same_class & truth.ignored[:, None])).sum(0)
    false = ~matched.any(0) & (predicted_areas > 0) & (excused <= 0.5 * predicted_areas)
    missed = ~matched.any(1) & ~truth.ignored
    return PanopticMatches(truth.labels[found], ious[found, finds], predicted.labels[false], truth.labels[missed])


def panoptic_quality(results: Sequence[PanopticMatches], num_classes: int) -> dict[str, np.ndarray]:
    """Return the results of each class over all images, ``(C,)`` each.

    ``found``, ``false`` and ``missed`` are counts, ``count`` is their sum. With IoU the sum over the found ones,
    ``SQ`` = IoU / found, ``RQ`` = found / (found + false / 2 + missed / 2), and ``PQ`` = ``SQ`` * ``RQ``; 0 for a class
    with nothing to divide by.
    """
    columns = zip(*(result.all_labels for result in results), strict=True)
    found_labels, false_labels, missed_labels = map(np.concatenate, columns)
    found, false, missed = (
        np.bincount(labels, minlength=num_classes) for labels in (found_labels, false_labels, missed_labels)
    )
    ious = np.bincount(found_labels, np.concatenate([result.ious for result in results]), minlength=num_classes)
    denominator = found + false / 2 + missed / 2
    quality = {
        name: np.divide(above, below, out=np.zeros(num_classes), where=below > 0)
        for name, above, below in (('PQ', ious, denominator), ('SQ', ious, found), ('RQ', found, denominator))
    }
    return {**quality, 'found': found, 'false': false, 'missed': missed, 'count': found + false + missed}
