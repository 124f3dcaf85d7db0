"""Puts drawn objects into a picture, with shadows, and finds what of each is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Sprite
from .outlines import join, trace
from .textures import noise


@dataclass(frozen=True)
class Placement:
    """A sprite's place in the picture.

    Attributes:
        sprite: what is drawn.
        x, y: whole pixel of the picture on which the sprite's upper left pixel falls; may lie outside.
        label: class index; None for props, which hide others but aren't annotated.
        shadow: 'drop' on a surface right behind it, 'ground' where it stands or lies, 'none'.
    """

    sprite: Sprite
    x: int
    y: int
    label: int | None = None
    shadow: str = 'drop'


@dataclass
class RenderedObject:
    """An annotated object.

    Attributes:
        label: class index.
        coverage: (H, W) float32, how much of each pixel shows it.
        polygon: (K, 2) float64 pixels, the visible part's outline, pieces joined, holes filled.
        matrix: (2, 3), the drawing's own coordinates to the picture's pixels (for keypoints, axes and the like).
    """

    label: int
    coverage: np.ndarray
    polygon: np.ndarray
    matrix: np.ndarray


@dataclass
class RenderedScene:
    """``image`` (H, W, 3) uint8 RGB and its ``objects`` from back to front."""

    image: np.ndarray
    objects: list[RenderedObject]


def compose(
    backdrop: np.ndarray,
    placements: Sequence[Placement],
    rng: np.random.Generator,
    shadow_strength: float = 0.42,
) -> RenderedScene:
    """Draw ``placements`` in their order, the first farthest back.

    Args:
        backdrop: (H, W, 3) float32 RGB, 0-255.
        placements: what goes where.
        rng: the camera's noise.
        shadow_strength: how dark shadows are, 0-1.
    """
    image = backdrop.copy()
    shape = image.shape[:2]
    covers: list[np.ndarray] = []
    for placement in placements:
        _cast_shadow(image, placement, shadow_strength)
        inner, own = _overlap(shape, placement.sprite.shape, placement.x, placement.y)
        alpha = placement.sprite.alpha[own]
        image[inner] += placement.sprite.rgb[own] - image[inner] * alpha[..., None]
        for cover in covers:
            cover[inner] *= 1 - alpha
        cover = np.zeros(shape, np.float32)
        cover[inner] = alpha
        covers.append(cover)
    objects = []
    for placement, cover in zip(placements, covers, strict=True):
        pieces = [] if placement.label is None else trace(cover)
        if pieces:
            matrix = placement.sprite.matrix + [[0, 0, placement.x], [0, 0, placement.y]]
            objects.append(RenderedObject(placement.label, cover, join(pieces), matrix))
    return RenderedScene(_photograph(image, rng), objects)


def _overlap(shape: tuple[int, int], size: tuple[int, int], x: int, y: int) -> tuple[tuple, tuple]:
    """Return slices of the picture and of a sprite at (x, y) where the two meet."""
    y0, x0 = min(max(y, 0), shape[0]), min(max(x, 0), shape[1])
    y1, x1 = max(min(y + size[0], shape[0]), y0), max(min(x + size[1], shape[1]), x0)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _cast_shadow(image: np.ndarray, placement: Placement, strength: float) -> None:
    """Darken ``image`` where ``placement`` keeps the light away, in place."""
    if placement.shadow == 'none':
        return
    alpha = placement.sprite.alpha
    x0, y0, x1, y1 = placement.sprite.bounds()
    w, h = x1 - x0, y1 - y0
    pad = int(max(w, h) * 0.3) + 8
    size_wh = (alpha.shape[1] + 2 * pad, alpha.shape[0] + 2 * pad)
    if placement.shadow == 'drop':  # the whole silhouette, moved away from the light
        shift = 0.045 * max(w, h) + 1.5
        matrix = np.float32([[1, 0, pad + 0.75 * shift], [0, 1, pad + shift]])
        soft = cv2.GaussianBlur(cv2.warpAffine(alpha, matrix, size_wh), (0, 0), 0.022 * max(w, h) + 1.2)
    else:  # a silhouette laid flat on the ground, and a darker touch right where it stands
        flat = min(0.3 * w / max(h, 1), 0.3)
        lean = 0.45 * min(w / max(h, 1), 1)
        base = y1 - 0.02 * h
        matrix = np.float32([[1, -lean * flat, pad + lean * flat * base], [0, flat, pad + base * (1 - flat)]])
        far = cv2.GaussianBlur(cv2.warpAffine(alpha, matrix, size_wh), (0, 0), 0.03 * w + 1.0)
        touch = np.zeros((size_wh[1], size_wh[0]), np.float32)
        low = alpha[max(y1 - max(h // 12, 2), 0) : y1].max(0) > 0.5
        columns = np.nonzero(low)[0]
        left, right = (columns.min(), columns.max() + 1) if len(columns) else (x0, x1)
        centre = (pad + (left + right) / 2, pad + base)
        axes = (max((right - left) * 0.6, 2.0), max(0.035 * w, 1.5))
        cv2.ellipse(
            touch, tuple(round(c) for c in centre), tuple(round(a) for a in axes), 0, 0, 360, 1.0, -1, cv2.LINE_8
        )
        touch = cv2.GaussianBlur(touch, (0, 0), 0.015 * w + 1.0)
        soft = 1 - (1 - 0.8 * far) * (1 - 0.8 * touch)
    inner, own = _overlap(image.shape[:2], soft.shape, placement.x - pad, placement.y - pad)
    image[inner] *= 1 - np.float32(strength) * np.minimum(soft[own], 1)[..., None]


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a camera's view: darker corners, uneven light, a touch of blur, noise; (H, W, 3) uint8."""
    h, w = image.shape[:2]
    y = (np.arange(h, dtype=np.float32)[:, None] / h - 0.5) ** 2
    x = (np.arange(w, dtype=np.float32)[None] / w - 0.5) ** 2
    light = 1.03 - 0.28 * (x + y) + 0.04 * noise(rng, (h, w), 320, 2)
    seen = cv2.GaussianBlur(image * light[..., None], (0, 0), 0.45)
    seen += (
        rng.standard_normal((h, w, 1), dtype=np.float32) * 1.6 + rng.standard_normal((h, w, 3), dtype=np.float32) * 0.8
    )
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)
