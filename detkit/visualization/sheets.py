"""Sheets of many images: a training batch, predictions beside ground truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.masks import InstanceMasks
from detkit.visualization.classification import verdict, write_lines
from detkit.visualization.drawing import draw_data_sample, draw_instances, font_size
from detkit.visualization.text import draw_text, text_alpha

_SHEET_SIDE = 1920
_GAP = 4
_SMALLEST_CELL = 384  # smaller images are enlarged, so that their labels leave something to see
_PAPER = 255
_CAPTION_SIZE = 14


def batch_sheet(
    inputs: Tensor,
    gt: GtBatch,
    classes: Sequence[str] | None = None,
    captions: Sequence[str] = (),
    max_images: int = 16,
    keypoint_info: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Draw the images of a training batch with their boxes, masks and keypoints.

    Args:
        inputs: ``(B, 3, H, W)`` uint8 RGB.
        gt: of the same batch; its masks may be an overlap map or one bitmap an object, at any stride.
        classes: names of the labels.
        captions: one line for each image, such as its file's name.
        max_images: number of images of the batch to draw.
        keypoint_info: the dataset's ``metainfo`` of its keypoints, see ``draw_skeletons``.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    count = min(len(inputs), max_images)
    columns = math.ceil(math.sqrt(count))
    side = min(_SHEET_SIDE / columns - _GAP, max(*inputs.shape[2:], _SMALLEST_CELL))
    cells = [batch_cell(inputs, gt, b, side, classes, keypoint_info) for b in range(count)]
    return grid(
        [with_caption(cell, caption) for cell, caption in zip(cells, captions, strict=False)] + cells[len(captions) :],
        columns,
    )


def batch_cell(
    inputs: Tensor,
    gt: GtBatch,
    b: int,
    side: float,
    classes: Sequence[str] | None = None,
    keypoint_info: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Draw image ``b`` of a batch with its annotations, longer side ``side`` pixels; arguments as ``batch_sheet``."""
    height, width = inputs.shape[2:]
    img = fit(np.ascontiguousarray(inputs[b].permute(1, 2, 0).cpu().numpy()), side, enlarge=True)
    size_wh = img.shape[1], img.shape[0]
    valid = gt.valid[b].cpu().numpy()
    scale_wh = np.divide(size_wh, (width, height))
    bboxes = gt.bboxes[b].cpu().numpy()[valid] * np.tile(scale_wh, 2)
    keypoints = None
    if gt.keypoints is not None:
        keypoints = gt.keypoints[b].cpu().numpy()[valid] * np.append(scale_wh, 1.0)
    rbboxes = None
    if gt.rbboxes is not None:
        rbboxes = gt.rbboxes[b].cpu().numpy()[valid] * [*scale_wh, scale_wh.mean(), scale_wh.mean(), 1.0]
    masks = None if gt.masks is None else _batch_masks(gt.masks[b].cpu().numpy(), valid, size_wh)
    cell = draw_instances(
        img,
        bboxes,
        gt.labels[b].cpu().numpy()[valid],
        classes,
        masks=masks,
        keypoints=keypoints,
        keypoint_info=keypoint_info,
        rbboxes=rbboxes,
    )
    if gt.class_labels is not None:
        label = int(gt.class_labels[b])
        cell = write_lines(cell, [(label, classes[label] if classes is not None else str(label))])
    return cell


def prediction_sheet(
    images: Sequence[np.ndarray],
    samples: Sequence[DetDataSample],
    classes: Sequence[str] | None = None,
    score_thr: float = 0.25,
    keypoint_info: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Draw ground truth on the left and predictions on the right, image by image; classes in a line above the image.

    Args:
        images: original images ``(H, W, 3)`` uint8 RGB.
        samples: their data samples.
        classes: names of the labels.
        score_thr: predictions below it are left out.
        keypoint_info: the dataset's ``metainfo`` of its keypoints, see ``draw_skeletons``.

    Returns:
        ``(h, w, 3)`` uint8 RGB.
    """
    if all('pred_scores' in sample for sample in samples):
        return _class_sheet(images, samples, classes)
    pairs = 1 if len(images) == 1 else 2  # side by side on the sheet
    side = _SHEET_SIDE // (2 * pairs) - _GAP
    cells = []
    for img, sample in zip(images, samples, strict=True):
        name = Path(sample.metainfo.get('img_path') or '').name
        scale = min(1.0, side / max(img.shape[:2]))
        shape = max(round(img.shape[0] * scale), 1), max(round(img.shape[1] * scale), 1)
        zoom = font_size(shape) / (font_size(img.shape[:2]) * scale)
        for which, title in (('gt', 'ground truth'), ('pred', 'prediction')):
            cell = draw_data_sample(img, sample, which, classes, score_thr, zoom, keypoint_info)
            empty = _what_is_missing(sample, which, score_thr)
            cells.append(with_caption(fit(cell, side), f'{name}  {title}{empty}'.strip()))
    return grid(cells, 2 * pairs)


def _what_is_missing(sample: DetDataSample, which: str, score_thr: float) -> str:
    """Return the words on a picture without objects, which would look like a mistake; '' for one with some."""
    if which == 'gt' and 'gt_instances' in sample and not len(sample.gt_instances):
        return ': no object'
    if which == 'pred' and 'pred_instances' in sample and not (sample.pred_instances.scores >= score_thr).any():
        return f': none above {score_thr:g}'
    return ''


def _class_sheet(
    images: Sequence[np.ndarray], samples: Sequence[DetDataSample], classes: Sequence[str] | None
) -> np.ndarray:
    columns = min(len(images), 4)
    side = min(_SHEET_SIDE // columns - _GAP, _SMALLEST_CELL)
    cells = []
    for img, sample in zip(images, samples, strict=True):
        text, colour = verdict(sample, classes)
        cell = with_caption(fit(img, side), text, colour)
        cells.append(with_caption(cell, Path(sample.metainfo.get('img_path') or '').name))
    return grid(cells, columns)


def grid(cells: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Arrange pictures row by row on white, each row as high and each column as wide as its largest."""
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    widths = [max(row[column].shape[1] for row in rows if column < len(row)) for column in range(len(rows[0]))]
    sheet = np.full(
        (sum(heights) + _GAP * (len(heights) - 1), sum(widths) + _GAP * (len(widths) - 1), 3), _PAPER, np.uint8
    )
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = 0
        for cell, width in zip(row, widths, strict=False):
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
            x += width + _GAP
        y += height + _GAP
    return sheet


def _batch_masks(masks: np.ndarray, valid: np.ndarray, size_wh: tuple[int, int]) -> InstanceMasks:
    """Return the masks of one image's valid objects from the overlap map ``(h, w)`` or the bitmaps ``(M, h, w)``."""
    numbers = np.flatnonzero(valid)
    if masks.ndim == 2:
        index_map = cv2.resize(masks, size_wh, interpolation=cv2.INTER_NEAREST)
        return InstanceMasks.from_bool(index_map[None] == (numbers + 1)[:, None, None])
    frames = [cv2.resize(masks[i].astype(np.uint8), size_wh, interpolation=cv2.INTER_NEAREST) for i in numbers]
    return InstanceMasks.from_bool(np.array(frames, bool).reshape(len(numbers), size_wh[1], size_wh[0]))


def fit(img: np.ndarray, side: float, enlarge: bool = False) -> np.ndarray:
    """Resize a picture so that its longer side is ``side``; a smaller one is enlarged only if asked for."""
    scale = side / max(img.shape[:2])
    if scale >= 1 and not enlarge:
        return img
    size_wh = max(1, round(img.shape[1] * scale)), max(1, round(img.shape[0] * scale))
    return cv2.resize(img, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def with_caption(img: np.ndarray, text: str, colour: tuple[int, int, int] = (40, 40, 40)) -> np.ndarray:
    """Return the picture with a line of text above it, cut to its width."""
    height = text_alpha(text, _CAPTION_SIZE).shape[0] + 4
    strip = np.full((height, img.shape[1], 3), _PAPER, np.uint8)
    draw_text(strip, text, (2, 2), _CAPTION_SIZE, colour)
    return np.concatenate([strip, img])
