"""Drawing of boxes, masks, keypoints and labels on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import InstanceMasks, segmentation_to_rle
from detkit.structures.panoptic import PanopticSegments
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.visualization.classification import draw_classes
from detkit.visualization.drawing_options import DRAW_ALL, DrawingOptions
from detkit.visualization.palette import class_colour, object_colours, text_colour
from detkit.visualization.segments import draw_segments
from detkit.visualization.skeletons import draw_skeletons, drawn_keypoints
from detkit.visualization.text import cut_text, draw_text, text_alpha

_MASK_ALPHA = 0.45
_IGNORED_COLOUR = (150, 150, 150)
# With more rotated boxes than this, small ones are named once a class.
_MANY = 20
# A longer name is cut, unless its box is as wide: this share of the image's width, but at least so many letters.
_NAME_WIDTH = 0.3
_NAME_LETTERS = 8
_LABELS_HIGH = 4  # an image that is lower than so many labels has none, which would cover it


def draw_instances(
    img: np.ndarray,
    bboxes: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str] | None = None,
    scores: np.ndarray | None = None,
    masks: InstanceMasks | None = None,
    ignored: np.ndarray | None = None,
    zoom: float = 1.0,
    keypoints: np.ndarray | None = None,
    keypoint_info: Mapping[str, Any] | None = None,
    rbboxes: np.ndarray | None = None,
    options: DrawingOptions = DRAW_ALL,
    track_ids: np.ndarray | None = None,
) -> np.ndarray:
    """Return a copy of an image with its objects: masks, boxes, keypoints, labels; small objects above large ones.

    Long names are cut with '…', and images lower than about 60 pixels have no labels, which would cover them.

    Args:
        img: ``(H, W, 3)`` uint8 RGB.
        bboxes: ``(N, 4)`` xyxy in pixels of ``img``.
        labels: ``(N,)``.
        classes: names; the label's number is written without them.
        scores: ``(N,)``, written behind the name.
        masks: of the same N objects and image shape.
        ignored: ``(N,)`` bool, objects drawn in grey (crowds).
        zoom: factor of the sizes of text and lines, for a picture that will be shrunk.
        keypoints, keypoint_info: ``(N, K, 3)`` and the dataset's ``metainfo`` of them, see ``draw_skeletons``.
        rbboxes: ``(N, 5)`` rotated boxes, drawn in place of ``bboxes``, which then only say where labels go.
        options: what is drawn, and how.
        track_ids: ``(N,)``, the numbers of the objects' tracks, which choose their colours unless ``options`` do, and
            are written before the names.
    """
    img = np.ascontiguousarray(img).copy()
    bboxes = np.asarray(bboxes, np.float64).reshape(-1, 4)
    labels = np.asarray(labels, np.int64)
    ignored = np.zeros(len(labels), bool) if ignored is None else np.asarray(ignored, bool)
    masks = masks if options.masks else None
    # Overlapping objects of one class must be distinguishable.
    color_by = options.color_by or ('class' if masks is None and keypoints is None else 'instance')
    own = object_colours(labels.tolist(), color_by)
    if track_ids is not None and options.color_by is None:
        own = [class_colour(track) for track in track_ids.tolist()]
    colours = [_IGNORED_COLOUR if grey else colour for grey, colour in zip(ignored, own, strict=True)]
    order = np.argsort(-(bboxes[:, 2] - bboxes[:, 0]) * (bboxes[:, 3] - bboxes[:, 1]), kind='stable')
    line, text_size = round((options.line_width or line_width(img.shape[:2])) * zoom), _text_size(img, zoom)
    if masks is not None:
        plain = img.copy()
        for i in order:
            _blend(img, plain, masks.crops[i], masks.offsets[i], colours[i])
        outlines = masks.to_polygons(tolerance=0.5)
        for i in order:
            ends = np.cumsum([len(ring) for ring in outlines[i]])
            rings = np.split(_fixed(np.concatenate(outlines[i]) - 0.5), ends[:-1]) if len(ends) else []
            cv2.polylines(img, rings, True, colours[i], max(1, line // 2), cv2.LINE_AA, shift=4)
    if rbboxes is not None and options.bboxes:
        corners = _fixed(rbbox_corners(np.asarray(rbboxes, np.float64).reshape(-1, 5)) - 0.5)
        for i in order:
            cv2.polylines(img, [corners[i]], True, colours[i], line, cv2.LINE_AA, shift=4)
    for i in order if rbboxes is None and options.bboxes else ():
        corners = _fixed(bboxes[i].reshape(2, 2) - 0.5)
        cv2.rectangle(img, corners[0].tolist(), corners[1].tolist(), colours[i], line, cv2.LINE_AA, shift=4)
    if keypoints is not None and len(keypoints):
        draw_skeletons(img, keypoints[order], bboxes[order], keypoint_info, line)
    taken: list[tuple[int, int, int, int]] = []
    named: set[int] = set()
    labelled = options.labels or (options.scores and scores is not None)
    labelled = labelled and img.shape[0] >= _LABELS_HIGH * text_alpha('', text_size).shape[0]
    for i in order if labelled else ():
        name = classes[labels[i]] if classes is not None and labels[i] < len(classes) else str(labels[i])
        room = max(bboxes[i, 2] - bboxes[i, 0], _NAME_WIDTH * img.shape[1], _NAME_LETTERS * text_size)
        name = cut_text(name, text_size, room)
        name = name if track_ids is None else f'{track_ids[i]} {name}'
        text = options.text(name, None if scores is None else scores[i])
        if rbboxes is not None and len(order) > _MANY and labels[i] in named:
            if 4 * text_alpha(text, text_size).size > np.prod(bboxes[i, 2:] - bboxes[i, :2]):
                continue  # among ships in a harbour it would hide more than it says; the colour does
        named.add(int(labels[i]))
        _draw_label(img, text, bboxes[i], colours[i], text_size, line, taken)
    return img


def draw_data_sample(
    img: np.ndarray,
    sample: DetDataSample,
    which: str = 'pred',
    classes: Sequence[str] | None = None,
    score_thr: float = 0.0,
    zoom: float = 1.0,
    keypoint_info: Mapping[str, Any] | None = None,
    options: DrawingOptions = DRAW_ALL,
) -> np.ndarray:
    """Return a copy of the original image with a data sample's objects.

    Args:
        img: ``(H, W, 3)`` uint8 RGB, the original image upright.
        sample: its ``gt_instances`` or ``pred_instances``, in pixels of ``img``; of a classifier, its class; where it
            has ``pred_panoptic``, segments in place of objects.
        which: 'pred' or 'gt'.
        classes: names of the labels.
        score_thr: predictions below it are left out.
        zoom, keypoint_info, options: as for ``draw_instances``; segments are shades of their class's colour, or that
            colour itself where the option ``color_by`` is 'class'.
    """
    if 'pred_scores' in sample:
        return draw_classes(img, sample, which, classes, score_thr, zoom, options)
    if which not in ('pred', 'gt'):
        raise ValueError(f"which must be 'pred' or 'gt', not {which!r}")
    if 'pred_panoptic' in sample:
        return draw_segments(
            img,
            _segments(sample, which, img.shape[:2]),
            classes,
            _text_size(img, zoom),
            max(1, round((options.line_width or line_width(img.shape[:2]) / 2) * zoom)),
            options,
        )
    if which == 'pred':
        instances = sample.pred_instances
        instances = instances[instances.scores >= score_thr]
    else:
        instances = sample.gt_instances
    scores, ignored, rbboxes = instances.get('scores'), instances.get('ignored'), instances.get('rbboxes')
    track_ids = instances.get('track_ids')
    keypoints = _instance_keypoints(instances)
    # Outlines beside keypoints are no part of the task, and would hide limbs.
    masks = _instance_masks(instances, img.shape[:2]) if keypoints is None else None
    return draw_instances(
        img,
        _array(instances.bboxes),
        _array(instances.labels),
        classes,
        None if scores is None else _array(scores),
        masks,
        None if ignored is None else _array(ignored),
        zoom,
        keypoints,
        keypoint_info,
        None if rbboxes is None else _array(rbboxes),
        options,
        None if track_ids is None else _array(track_ids),
    )


def _segments(sample: DetDataSample, which: str, shape: tuple[int, int]) -> PanopticSegments:
    if which == 'pred':
        return sample.pred_panoptic
    gt = sample.gt_instances
    rles = [segmentation_to_rle(mask, bbox, shape) for mask, bbox in zip(gt.masks, _array(gt.bboxes), strict=True)]
    return PanopticSegments.from_rles(rles, _array(gt.labels), shape)


def line_width(shape: tuple[int, int]) -> int:
    """Return the width of a box's outline for an image of (h, w)."""
    return max(1, round(float(np.sqrt(shape[0] * shape[1])) / 300))


def font_size(shape: tuple[int, int]) -> int:
    """Return a legible font size in pixels for an image of (h, w)."""
    return max(11, round(float(np.sqrt(shape[0] * shape[1])) / 46))


def _text_size(img: np.ndarray, zoom: float) -> int:
    return round(font_size(img.shape[:2]) * zoom)


def _instance_masks(instances: InstanceData, shape: tuple[int, int]) -> InstanceMasks | None:
    masks = instances.get('masks')
    if masks is None or isinstance(masks, InstanceMasks):
        return masks
    if isinstance(masks, list):
        return masks_from_segmentations(masks, _array(instances.bboxes), shape)
    return InstanceMasks.from_bool(_array(masks))


def _instance_keypoints(instances: InstanceData) -> np.ndarray | None:
    keypoints, scores = instances.get('keypoints'), instances.get('keypoint_scores')
    if keypoints is None:
        return None
    keypoints = _array(keypoints)
    if keypoints.shape[2] == 3:
        return keypoints
    return drawn_keypoints(keypoints, None if scores is None else _array(scores))


def masks_from_segmentations(
    segmentations: Sequence[dict | Sequence], bboxes: np.ndarray, shape: tuple[int, int]
) -> InstanceMasks:
    """Convert ground truth in COCO's format (rings or RLE) to ``InstanceMasks`` of an image of (h, w)."""
    from pycocotools import mask as coco_mask

    crops, offsets = [], []
    for segmentation, bbox in zip(segmentations, bboxes, strict=True):
        frame = coco_mask.decode(segmentation_to_rle(segmentation, bbox, shape)).astype(bool)
        tight = InstanceMasks.from_bool(frame[None])
        crops += tight.crops
        offsets.append(tight.offsets[0])
    return InstanceMasks(crops, np.array(offsets, np.int64).reshape(-1, 2), shape)


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _fixed(points: np.ndarray) -> np.ndarray:
    """Convert points to OpenCV's fixed-point integers with 4 fractional bits, ``(..., 2)`` int32."""
    return np.rint(np.asarray(points) * 16).astype(np.int32)


def _blend(
    img: np.ndarray, plain: np.ndarray, crop: np.ndarray, offset: np.ndarray, colour: tuple[int, int, int]
) -> None:
    """Tint a mask of the untouched image ``plain`` into ``img``, so that the upper of two masks hides the lower."""
    if not crop.size:
        return
    place = np.s_[offset[1] : offset[1] + crop.shape[0], offset[0] : offset[0] + crop.shape[1]]
    values = np.arange(256, dtype=np.uint8)[:, None]
    tinted = np.rint(values * (1 - _MASK_ALPHA) + np.asarray(colour, np.float32) * _MASK_ALPHA)  # (256, 3)
    cv2.copyTo(cv2.LUT(plain[place], tinted.astype(np.uint8)[None]), crop.view(np.uint8), img[place])


def _draw_label(
    img: np.ndarray,
    text: str,
    bbox: np.ndarray,
    colour: tuple[int, int, int],
    size: int,
    line: int,
    taken: list[tuple[int, int, int, int]],
) -> None:
    """Write ``text`` at the box where no label of ``taken`` lies yet, if there is room, and add it to ``taken``."""
    padding = max(1, size // 8)
    height, width = (side + 2 * padding for side in text_alpha(text, size).shape)
    left, top, right, bottom = (round(float(value)) for value in bbox)
    half = (line + 1) // 2
    left = min(left - half, img.shape[1] - width)
    candidates = [
        (left, top - height),
        (left, top),
        (left, bottom),
        (right - width, top - height),
        (right - width, bottom - height),
    ]
    candidates = [(max(x, 0), y) for x, y in candidates]
    inside = [(x, y) for x, y in candidates if y >= 0 and y + height <= img.shape[0]]
    free = [
        (x, y)
        for x, y in inside
        if not any(x < x1 and x + width > x0 and y < y1 and y + height > y0 for x0, y0, x1, y1 in taken)
    ]
    fallback = (candidates[0][0], min(max(top, 0), max(img.shape[0] - height, 0)))
    x, y = (free or inside or [fallback])[0]
    taken.append((x, y, x + width, y + height))
    draw_text(img, text, (x, y), size, text_colour(colour), colour, padding)
