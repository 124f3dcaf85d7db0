"""Drawing of the segments of an image."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from detkit.structures.panoptic import PanopticSegments
from detkit.visualization.drawing_options import DRAW_ALL, ColorBy, DrawingOptions
from detkit.visualization.palette import class_colour, text_colour
from detkit.visualization.text import draw_text, text_alpha

_ALPHA = 0.6
_VOID_ALPHA = 0.5  # how much darker what belongs to no segment is
_BORDER = (255, 255, 255)
# Lightness of the first, second, ... segment of a class, so that neighbours can be told apart.
_SHADES = (1.0, 0.72, 0.86, 0.6)


def draw_segments(
    img: np.ndarray,
    segments: PanopticSegments,
    classes: Sequence[str] | None = None,
    text_size: int = 14,
    line: int = 1,
    options: DrawingOptions = DRAW_ALL,
) -> np.ndarray:
    """Return a copy of an image with each segment tinted in a shade of its class's colour, outlined and named.

    A name is at the widest part of its segment; one that does not fit into the segment is left out.

    Args:
        img: ``(H, W, 3)`` uint8 RGB.
        segments: of the same size.
        classes: names of the labels.
        text_size: in pixels.
        line: width of the outlines in pixels.
        options: where ``color_by`` is 'class', all segments of a class have its colour; without ``masks``, nothing is
            tinted.

    Raises:
        ValueError: the sizes differ.
    """
    index_map = segments.index_map
    if index_map.shape != img.shape[:2]:
        raise ValueError(f'segments of {index_map.shape} pixels (h, w) on an image of {img.shape[:2]}')
    colours = _colours(segments.labels, options.color_by or 'instance')
    tints = np.concatenate([np.zeros((1, 3)), colours])[index_map]
    alpha = np.where(index_map > 0, _ALPHA, _VOID_ALPHA)[..., None]
    drawn = np.rint(img * (1 - alpha) + tints * alpha).astype(np.uint8) if options.masks else img.copy()
    drawn[_borders(index_map, line)] = _BORDER
    for number in () if not options.labels else np.argsort(segments.areas, kind='stable').tolist():
        label = int(segments.labels[number])
        name = classes[label] if classes is not None and label < len(classes) else str(label)
        colour = tuple(int(value) for value in colours[number])
        _draw_name(drawn, name, index_map == number + 1, colour, text_size)
    return drawn


def _colours(labels: np.ndarray, color_by: ColorBy) -> np.ndarray:
    """Return the RGB colours ``(S, 3)`` of the segments."""
    seen: dict[int, int] = {}
    colours = np.zeros((len(labels), 3))
    for number, label in enumerate(labels.tolist()):
        hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in class_colour(label)))
        shade = 1.0 if color_by == 'class' else _SHADES[seen.get(label, 0) % len(_SHADES)]
        seen[label] = seen.get(label, 0) + 1
        colours[number] = np.multiply(colorsys.hsv_to_rgb(hue, saturation, value * shade), 255)
    return np.rint(colours)


def _borders(index_map: np.ndarray, line: int) -> np.ndarray:
    """Return which pixels are beside another segment, ``(H, W)`` bool."""
    borders = np.zeros(index_map.shape, np.uint8)
    borders[:, 1:] |= index_map[:, 1:] != index_map[:, :-1]
    borders[1:] |= index_map[1:] != index_map[:-1]
    return (cv2.dilate(borders, np.ones((line, line), np.uint8)) if line > 1 else borders) > 0


def _draw_name(img: np.ndarray, name: str, mask: np.ndarray, colour: tuple[int, int, int], size: int) -> None:
    """Write a name at the point that is farthest from the segment's border, if there is room for it."""
    padding = max(1, size // 8)
    height, width = (side + 2 * padding for side in text_alpha(name, size).shape)
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    left = min(max(int(x) - width // 2, 0), img.shape[1] - width)
    top = min(max(int(y) - height // 2, 0), img.shape[0] - height)
    if left < 0 or top < 0:
        return
    covered = mask[top : top + height, left : left + width]
    if covered.mean() > 0.75:
        draw_text(img, name, (left, top), size, text_colour(colour), colour, padding)
