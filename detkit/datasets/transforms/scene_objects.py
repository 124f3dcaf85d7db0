"""The objects of a scene in its own pixels: moved, cut, their boxes derived anew, all at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as coco_mask

from detkit.structures.annotations import Annotations
from detkit.structures.bboxes import bbox_areas, bbox_corners
from detkit.structures.polygons import Polygons, move_points
from detkit.structures.rotated_bboxes import enclosing_rbboxes, move_rbboxes, rbbox_corners
from detkit.structures.scene import Scene, Tile

__all__ = ['SceneObjects', 'place_objects', 'scene_bboxes']


@dataclass
class SceneObjects:
    """All trainable objects of a scene (ignored ones are left out), cut to their tiles and to the frame.

    Attributes:
        annotations: in pixels of the scene; ``bboxes`` and ``rbboxes`` surround what is visible; ``polygons`` as
            drawn, or None.
        outlines: the ring that each object's box was derived from: its own rings, its bitmap's outline, its rotated
            box, or its box.
        visible_ratios: ``(N,)`` area of the box in the frame ÷ area of the box when only cut to its tile.
        has_outline: ``(N,)`` bool, known by more than a box.
        tile_numbers: ``(N,)`` which tile each object belongs to.
    """

    annotations: Annotations
    outlines: Polygons
    visible_ratios: np.ndarray
    has_outline: np.ndarray
    tile_numbers: np.ndarray

    def select(self, keep: np.ndarray) -> SceneObjects:
        return SceneObjects(
            self.annotations.select(keep),
            self.outlines.select(keep),
            self.visible_ratios[keep],
            self.has_outline[keep],
            self.tile_numbers[keep],
        )


def place_objects(scene: Scene, matrices: list[np.ndarray] | None = None) -> SceneObjects:
    """Move the objects of all tiles into the scene.

    Args:
        scene: the scene to read.
        matrices: the tiles', where they differ from the tiles' own because drawing rounded them to whole pixels.
    """
    parts, outlines, flags = [], [], []
    for number, tile in enumerate(scene.tiles):
        matrix = tile.matrix if matrices is None else matrices[number]
        own = tile.annotations.select(~tile.annotations.ignored)
        rings, has_outline = _outlines(own)
        outlines.append(rings.clip(tile.clip).moved(matrix))
        flags.append(has_outline)
        parts.append(_moved(own, tile, matrix, scene.size))
    counts = [len(part) for part in parts]
    annotations = Annotations.concatenate(parts) if parts else Annotations()
    before = Polygons.concatenate(outlines, counts) if parts else Polygons()
    height, width = scene.size
    after = before.clip((0, 0, width, height))
    num_objects = len(annotations)
    areas = bbox_areas(before.bboxes(num_objects))
    bboxes = after.bboxes(num_objects)
    annotations = Annotations(
        labels=annotations.labels,
        bboxes=bboxes.astype(np.float32),
        ignored=annotations.ignored,
        areas=annotations.areas,
        polygons=None if all(part.polygons is None for part in parts) else after,
        rles=annotations.rles,
        keypoints=annotations.keypoints,
        # A box that the frame cuts keeps its direction, as in ultralytics 8.4.190.
        rbboxes=None if annotations.rbboxes is None else enclosing_rbboxes(after, annotations.rbboxes[:, 4]),
        values=annotations.values,
    )
    ratios = np.divide(bbox_areas(bboxes), areas, out=np.zeros_like(areas), where=areas > 0)
    has_outline = np.concatenate(flags) if flags else np.zeros(0, bool)
    return SceneObjects(annotations, after, ratios, has_outline, np.repeat(np.arange(len(counts)), counts))


def scene_bboxes(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of the objects of all tiles, ignored ones included (their boxes too must not be hidden).

    Returns:
        ``bboxes (N, 4)`` in pixels of the scene, ``has_outline (N,)`` bool (never for an ignored object), and
        ``tile_numbers (N,)``.
    """
    bboxes, flags, counts = [], [], []
    for tile in scene.tiles:
        own = tile.annotations
        rings, has_outline = _outlines(own)
        bboxes.append(rings.clip(tile.clip).moved(tile.matrix).bboxes(len(own)))
        flags.append(has_outline & ~own.ignored)
        counts.append(len(own))
    if not counts:
        return np.zeros((0, 4), np.float32), np.zeros(0, bool), np.zeros(0, np.int64)
    return np.concatenate(bboxes), np.concatenate(flags), np.repeat(np.arange(len(counts)), counts)


def _outlines(annotations: Annotations) -> tuple[Polygons, np.ndarray]:
    """Return the points that each object's box is derived from, and ``(N,)`` bool if they are more than its box."""
    num_objects = len(annotations)
    if annotations.rbboxes is not None:
        corners = rbbox_corners(annotations.rbboxes).reshape(-1, 2).astype(np.float32)
        objects = np.arange(num_objects)
        return Polygons(corners, np.full(num_objects, 4), objects), np.ones(num_objects, bool)
    polygons = annotations.polygons or Polygons()
    has_outline = np.zeros(num_objects, bool)
    has_outline[polygons.ring_owners] = True
    parts = [polygons]
    if annotations.rles is not None:
        for owner, rle in enumerate(annotations.rles):
            if rle is not None and not has_outline[owner]:
                ring = bitmap_outline(coco_mask.decode(rle))
                parts.append(Polygons(ring, np.array([len(ring)]), np.array([owner])))
                has_outline[owner] = len(ring) > 0
    boxed = np.flatnonzero(~has_outline)
    if len(boxed):
        corners = bbox_corners(annotations.bboxes[boxed]).reshape(-1, 2).astype(np.float32)
        parts.append(Polygons(corners, np.full(len(boxed), 4), boxed))
    parts = [part for part in parts if len(part.points)]
    if len(parts) > 1:
        return Polygons.concatenate(parts, [0] * len(parts)).sorted_by_owner(), has_outline
    return parts[0] if parts else Polygons(), has_outline


def bitmap_outline(bitmap: np.ndarray) -> np.ndarray:
    """Return a ring around a bitmap ``(h, w)``: down its leftmost pixels' edges, up its rightmost ones'.

    It surrounds the object row by row, so that its box, also after turning and cutting, is the object's, but for what
    concavities to the left and right add.

    Returns:
        ``(K, 2)`` float32 xy, K = 4 × the number of rows that are not empty.
    """
    rows = np.flatnonzero(bitmap.any(1))
    filled = bitmap[rows] > 0
    left, right = filled.argmax(1), bitmap.shape[1] - filled[:, ::-1].argmax(1)
    ys = np.stack([rows, rows + 1], 1).ravel()
    down = np.stack([np.repeat(left, 2), ys], 1)
    up = np.stack([np.repeat(right, 2), ys], 1)[::-1]
    return np.concatenate([down, up]).astype(np.float32)


def _moved(own: Annotations, tile: Tile, matrix: np.ndarray, size: tuple[int, int]) -> Annotations:
    """Move keypoints and rotated boxes; boxes and polygons, and what is seen of rotated ones, follow from outlines."""
    keypoints = own.keypoints
    if keypoints is not None:
        points = keypoints[..., :2].reshape(-1, 2)
        moved = move_points(points, matrix).reshape(*keypoints.shape[:2], 2)
        inside = _inside(keypoints[..., :2], tile.clip) & _inside(moved, (0, 0, size[1], size[0]))
        visibility = np.where(inside, keypoints[..., 2] if keypoints.shape[2] > 2 else 1, 0)
        keypoints = np.concatenate([moved, visibility[..., None]], 2).astype(np.float32)
    rbboxes = None if own.rbboxes is None else move_rbboxes(own.rbboxes, matrix)
    return replace(own, keypoints=keypoints, rbboxes=rbboxes)


def _inside(points: np.ndarray, rect: tuple[float, float, float, float]) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    return (x >= rect[0]) & (y >= rect[1]) & (x <= rect[2]) & (y <= rect[3])
