"""Files of predicted rotated boxes: json, and the files that DOTA's server takes, merged from tiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detkit.evaluation.coco_format import result_entries, write_class_files, written_images
from detkit.models.postprocess.rotated_nms import rotated_nms
from detkit.structures.data_sample import DetDataSample
from detkit.structures.rotated_bboxes import rbbox_corners

# <image>__<side of the tile>__<x>___<y>, x and y of the tile's top left corner in the image.
_TILE_NAME = re.compile(r'(?P<image>.+?)__(?P<size>\d+)__(?P<x>-?\d+)___(?P<y>-?\d+)')


def rotated_fields(rbboxes: np.ndarray) -> list[dict[str, Any]]:
    """Return the json fields of each rotated box: ``rbbox`` (cx, cy, w, h, angle) and ``corners`` (8 numbers)."""
    rbboxes = np.asarray(rbboxes, np.float64)
    corners = np.round(rbbox_corners(rbboxes).reshape(-1, 8), 3).tolist()
    rounded = np.concatenate([np.round(rbboxes[:, :4], 3), np.round(rbboxes[:, 4:], 6)], 1).tolist()
    return [{'rbbox': rbbox, 'corners': quad} for rbbox, quad in zip(rounded, corners, strict=True)]


def rotated_entries(results: Sequence[DetDataSample], category_ids: Sequence[int]) -> list[dict]:
    """Return the predictions of several images as entries of COCO's results file, with ``rbbox`` and ``corners``."""
    entries = []
    for img_id, result in written_images(results):
        pred = result.pred_instances
        plain = result_entries(img_id, pred.bboxes, pred.labels, pred.scores, None, category_ids)
        fields = rotated_fields(pred.rbboxes)
        entries += [{**entry, **extra} for entry, extra in zip(plain, fields, strict=True)]
    return entries


def tile_origin(name: str) -> tuple[str, int, int]:
    """Return the image that a tile was cut from, and where: ``'P0000__1024__824___0'`` -> ``('P0000', 824, 0)``.

    A name of another form is an image of its own, at (0, 0).
    """
    match = _TILE_NAME.fullmatch(name)
    return (match['image'], int(match['x']), int(match['y'])) if match else (name, 0, 0)


def merge_tiles(results: Sequence[DetDataSample], iou_thr: float = 0.1) -> dict[str, tuple[np.ndarray, ...]]:
    """Merge predictions on tiles on the images that they were cut from.

    Args:
        results: predictions on tiles, whose ``img_id`` names the image and the position, see ``tile_origin``.
        iou_thr: an object in several tiles is found several times: of two boxes of a class that overlap more, the
            one with the higher score stays. Images of a single tile are left as they are.

    Returns:
        For each image ``rbboxes (P, 5)`` float64, ``labels (P,)`` and ``scores (P,)``, best first.
    """
    parts: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for result in results:
        image, x, y = tile_origin(str(result.img_id))
        pred = result.pred_instances
        rbboxes = pred.rbboxes.astype(np.float64) + [x, y, 0, 0, 0]
        parts.setdefault(image, []).append((rbboxes, pred.labels, pred.scores))
    merged = {}
    for image in sorted(parts):
        rbboxes, labels, scores = (np.concatenate(column) for column in zip(*parts[image], strict=True))
        order = np.argsort(-scores, kind='stable')
        if len(parts[image]) > 1:
            kept = rotated_nms(torch.from_numpy(rbboxes[order]), torch.from_numpy(labels[order]), iou_thr)
            order = order[kept.numpy()]
        merged[image] = rbboxes[order], labels[order], scores[order]
    return merged


def write_submission(
    results: Sequence[DetDataSample], classes: Sequence[str], folder: str | Path, iou_thr: float = 0.1
) -> list[Path]:
    """Write the files of DOTA's task 1: one a class, ``<image> <score> x1 y1 x2 y2 x3 y3 x4 y4`` a line.

    Args:
        results: predictions on images or tiles, which are merged first.
        classes: names of the labels; DOTA writes them with hyphens.
        folder: made where it is missing.
        iou_thr: see ``merge_tiles``.

    Returns:
        The files, one for each class, empty ones too.
    """
    lines: list[list[str]] = [[] for _ in classes]
    for image, (rbboxes, labels, scores) in merge_tiles(results, iou_thr).items():
        corners = rbbox_corners(rbboxes).reshape(-1, 8)
        for quad, label, score in zip(corners.tolist(), labels.tolist(), scores.tolist(), strict=True):
            lines[label].append(f'{image} {score:.6f} ' + ' '.join(f'{value:.2f}' for value in quad))
    names = [name.replace(' ', '-') for name in classes]
    return write_class_files(lines, names, folder, 'Task1_{}.txt')
