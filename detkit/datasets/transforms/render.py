"""``Render``: from a lazy scene to an image, its objects and their masks."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from detkit.datasets.transforms.drawing import Placement, Resampling, draw_tile, place_tile
from detkit.datasets.transforms.loading import UnreadableImageError
from detkit.datasets.transforms.object_masks import Bitmap, draw_index_map, draw_instance_masks
from detkit.datasets.transforms.photometry import apply_operation
from detkit.datasets.transforms.scene_objects import SceneObjects, place_objects
from detkit.datasets.transforms.tile_drawings import describe_tile
from detkit.registry import TRANSFORMS
from detkit.structures.render_plan import CanvasDrawing
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene
from detkit.utils.limits import MAX_PIXELS, PIXELS_VARIABLE

__all__ = ['Render']


@TRANSFORMS.register_module()
class Render:
    """Draw every tile of the scene once and move its objects by the same matrix.

    An object is kept when enough of it can be seen. Boxes of objects with an outline are derived from the outline as
    moved and cut. Sets ``img`` (uint8 RGB ``(H, W, 3)``), ``annotations``, ``matrix`` (``(3, 3)`` float64, original
    pixels of the sample's own image -> pixels of ``img``), and ``masks`` where asked. Changes of colour that transforms
    before it have drawn (``pixel_operations``) are carried out on the rendered image.

    Args:
        with_masks: draw the objects' masks.
        mask_stride: pixels of the image to one of the masks.
        overlap_mask: one index map ``(h, w)``, smaller objects on top; else one mask an object, ``(N, h, w)`` bool.
        fill: grey value of what no tile covers.
        min_size: boxes must be wider and higher than so many pixels.
        max_aspect: the longer side must be less than so many times the shorter; None: any shape will do.
        min_area_ratio: more than this share of the box must be in the frame.
        min_outline_area_ratio: the same for objects with an outline.
        prefilter_above: tiles that shrink by more than this factor are averaged over the pixels that fall together;
            None: never.
        antialias: resample tiles whose rows stay rows by Pillow, at their exact position and smoothed as much as they
            shrink, as torchvision does; a little slower.
        align_corners: where a tile is resized to whole pixels, keep the centres of its corner pixels in the corners, as
            Darknet does; otherwise its edges stay at the edges.

    Attributes:
        deferred: whether the image is described instead of drawn (``Sample.drawing``), for a loader that draws whole
            batches on its device; set by the loader.
    """

    stage = 'render'

    def __init__(
        self,
        with_masks: bool = False,
        mask_stride: int = 4,
        overlap_mask: bool = True,
        fill: int = 114,
        min_size: float = 2.0,
        max_aspect: float | None = 100.0,
        min_area_ratio: float = 0.1,
        min_outline_area_ratio: float = 0.01,
        prefilter_above: float | None = 2.0,
        antialias: bool = False,
        align_corners: bool = False,
    ) -> None:
        self.with_masks = with_masks
        self.mask_stride = mask_stride
        self.overlap_mask = overlap_mask
        self.fill = fill
        self.min_size = min_size
        self.max_aspect = max_aspect
        self.min_area_ratio = min_area_ratio
        self.min_outline_area_ratio = min_outline_area_ratio
        self.deferred = False
        self.resampling = Resampling(math.inf if prefilter_above is None else prefilter_above, antialias, align_corners)

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        height, width = scene.size
        if height * width > MAX_PIXELS:
            raise UnreadableImageError(
                sample.record.img_path,
                f'becomes {width}x{height} pixels in the pipeline, more than {MAX_PIXELS:,}: give its transforms a '
                f'smaller size, or raise {PIXELS_VARIABLE}',
            )
        placements = [place_tile(tile, scene.size, self.resampling.antialias) for tile in scene.tiles]
        matrices = [placement.matrix for placement in placements]
        objects = place_objects(scene, matrices)
        img = drawing = None
        if self.deferred:
            drawing = self._describe(scene, placements, objects)
        else:
            img = self._draw(scene, placements, objects)
            for operation in sample.pixel_operations:
                img = apply_operation(img, operation)
        objects, masks = objects.select(self._keep(objects)), None
        if self.with_masks:
            draw = draw_index_map if self.overlap_mask else draw_instance_masks
            bitmaps = _bitmaps(scene, matrices, objects)
            masks = draw(objects.outlines, bitmaps, scene.size, self.mask_stride)
            if not self.overlap_mask and objects.annotations.rles is not None:
                # A bitmap's outline may still touch the frame when none of its pixels is left.
                seen = masks.any((1, 2)) | np.array([bitmap is None for bitmap in bitmaps], bool)
                objects, masks = objects.select(seen), masks[seen]
        return replace(
            sample,
            img=img,
            drawing=drawing,
            matrix=matrices[0] if matrices else np.eye(3),
            masks=masks,
            annotations=replace(objects.annotations, rles=None),
        )

    def _draw(self, scene: Scene, placements: list[Placement], objects: SceneObjects) -> np.ndarray:
        layers: dict[int, np.ndarray] = {}
        weights: dict[int, float] = {}
        for number, (tile, placement) in enumerate(zip(scene.tiles, placements, strict=True)):
            if tile.layer not in layers:
                layers[tile.layer] = np.full((*scene.size, 3), self.fill, np.uint8)
                weights[tile.layer] = tile.weight
            mask = _pasted_mask(scene, placements, objects, number) if tile.pasted else None
            draw_tile(layers[tile.layer], tile, placement, self.resampling, mask)
        if not layers:
            return np.full((*scene.size, 3), self.fill, np.uint8)
        if len(layers) == 1:
            return next(iter(layers.values()))
        if len(layers) == 2:
            (first, second), (share, other) = layers.values(), weights.values()
            return cv2.addWeighted(first, share, second, other, 0)
        total = sum(weights[number] * layer.astype(np.float32) for number, layer in layers.items())
        return np.round(total).astype(np.uint8)

    def _describe(self, scene: Scene, placements: list[Placement], objects: SceneObjects) -> CanvasDrawing:
        tiles = []
        for number, (tile, placement) in enumerate(zip(scene.tiles, placements, strict=True)):
            mask = _pasted_mask(scene, placements, objects, number) if tile.pasted else None
            tiles.append(describe_tile(tile, placement, self.resampling, scene.size, mask))
        return CanvasDrawing(scene.size, self.fill, tuple(tile for tile in tiles if tile is not None))

    def _keep(self, objects: SceneObjects) -> np.ndarray:
        """Return ``(N,)`` bool: which objects show enough of themselves."""
        bboxes = objects.annotations.bboxes
        wh = bboxes[:, 2:] - bboxes[:, :2]
        short, long = wh.min(1), wh.max(1)
        least = np.where(objects.has_outline, self.min_outline_area_ratio, self.min_area_ratio)
        keep = (short > self.min_size) & (objects.visible_ratios > least)
        return keep if self.max_aspect is None else keep & (long < self.max_aspect * short)


def _pasted_mask(scene: Scene, placements: list[Placement], objects: SceneObjects, number: int) -> np.ndarray:
    """Return ``(H, W)`` uint8: 1 inside the outlines of a tile's own objects."""
    own = objects.select(objects.tile_numbers == number)
    bitmaps = _bitmaps(scene, [placement.matrix for placement in placements], own)
    return draw_index_map(own.outlines, bitmaps, scene.size, 1).astype(bool).view(np.uint8)


def _bitmaps(scene: Scene, matrices: list[np.ndarray], objects: SceneObjects) -> list[Bitmap | None]:
    rles = objects.annotations.rles
    if rles is None:
        return [None] * len(objects.annotations)
    return [
        None if rle is None else Bitmap(rle, matrices[number], scene.tiles[number].clip)
        for rle, number in zip(rles, objects.tile_numbers.tolist(), strict=True)
    ]
