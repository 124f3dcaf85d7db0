"""Drawing of an image's annotations in a dataset's files, before any transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from detkit.structures.annotations import Annotations, Record, coco_segmentations
from detkit.structures.masks import InstanceMasks
from detkit.structures.rotated_bboxes import move_rbboxes
from detkit.structures.scene import scale_matrix
from detkit.visualization.classification import write_lines
from detkit.visualization.drawing import draw_instances, masks_from_segmentations


def draw_record(
    img: np.ndarray,
    record: Record,
    side: int,
    classes: Sequence[str] | None = None,
    keypoint_info: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Draw the image, its longer side ``side`` pixels, with all of its annotations; ignored objects in grey.

    Args:
        img: ``(H, W, 3)`` uint8 RGB, of the record.
        classes: names of the labels.
        keypoint_info: the dataset's ``metainfo`` of its keypoints, see ``draw_skeletons``.
    """
    height, width = img.shape[:2]
    scale = side / max(height, width)
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    scale_wh = np.divide(size_wh, (width, height))
    small = cv2.resize(img, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    own = record.annotations
    keypoints = None if own.keypoints is None else own.keypoints * np.append(scale_wh, 1.0)
    rbboxes = None if own.rbboxes is None else move_rbboxes(own.rbboxes, scale_matrix(*scale_wh))
    # Outlines beside keypoints would hide limbs.
    masks = _masks(own, (height, width), size_wh) if keypoints is None else None
    drawn = draw_instances(
        small,
        own.bboxes * np.tile(scale_wh, 2),
        own.labels,
        classes,
        masks=masks,
        ignored=own.ignored,
        keypoints=keypoints,
        keypoint_info=keypoint_info,
        rbboxes=rbboxes,
    )
    if record.class_label is None:
        return drawn
    name = str(record.class_label) if classes is None else classes[record.class_label]
    return write_lines(drawn, [(record.class_label, name)])


def _masks(annotations: Annotations, shape: tuple[int, int], size_wh: tuple[int, int]) -> InstanceMasks | None:
    if not len(annotations) or (annotations.polygons is None and annotations.rles is None):
        return None
    masks = masks_from_segmentations(coco_segmentations(annotations), annotations.bboxes, shape)
    frames = [
        cv2.resize(mask.to_bool()[0].astype(np.uint8) * 255, size_wh, interpolation=cv2.INTER_LINEAR) > 127
        for mask in masks
    ]
    return InstanceMasks.from_bool(np.array(frames))
