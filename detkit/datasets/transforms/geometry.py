"""Transforms that only multiply matrices: letterbox, affine, flip. Nothing is drawn before ``Render``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.registry import TRANSFORMS
from detkit.structures.keypoints import flip_indices
from detkit.structures.sample import Sample
from detkit.structures.scene import Scene, Tile, scale_matrix, translation_matrix

# The largest change of the depth, which is 1 at the centre, by perspective.
_MAX_TILT = 0.75

__all__ = ['LetterBox', 'RandomAffine', 'RandomFlip', 'fit_inside', 'letterbox_scene', 'mirror_tile', 'size_pair']


def size_pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Return a side, or (h, w), as (h, w).

    Raises:
        ValueError: there are not two of them.
    """
    if not isinstance(size, int) and len(size) != 2:
        raise ValueError(f'a size is one side or two, (h, w), not {len(size)}: {list(size)}')
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def fit_inside(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return (h, w) scaled, up or down, to fit inside ``size``; fractions are rounded up where that still fits."""
    ratio = min(size[0] / shape[0], size[1] / shape[1])
    return min(math.ceil(shape[0] * ratio), size[0]), min(math.ceil(shape[1] * ratio), size[1])


def letterbox_scene(scene: Scene, inner: tuple[int, int], size: tuple[int, int], position: str = 'center') -> Scene:
    """Scale a scene to ``inner`` (h, w) and place it on a canvas of ``size``.

    It is in the middle, an odd pixel going right and below, or with ``position='top_left'`` in that corner.
    """
    (height, width), (old_height, old_width) = inner, scene.size
    left, top = 0, 0
    if position == 'center':
        # Halves are rounded down by the slightest bias, so that both sides of an odd margin add up.
        left, top = round((size[1] - width) / 2 - 0.1), round((size[0] - height) / 2 - 0.1)
    matrix = translation_matrix(left, top) @ scale_matrix(width / old_width, height / old_height)
    return scene.moved(matrix, size)


@TRANSFORMS.register_module()
class LetterBox:
    """Scale the sample to fit a size, its aspect kept, and pad it.

    Args:
        size: the output's side, or (h, w).
        rounding: of the scaled image's sides. 'up': as training and validation do; 'nearest': as prediction does;
            'down': as Darknet does.
        enlarge: whether an image smaller than ``size`` is scaled up.
        pad_to: 'size': to all of ``size``; 'divisor': no further than the next multiples of ``size_divisor``.
            In rectangular batches the batch's own shape is padded to, whatever is said here.
        size_divisor: see ``pad_to``.
        position: where the image is on the padded canvas, 'center' or 'top_left'.
    """

    stage = 'geometry'
    size_arguments = ('size',)

    def __init__(
        self,
        size: int | Sequence[int] = 640,
        rounding: str = 'up',
        enlarge: bool = True,
        pad_to: str = 'size',
        size_divisor: int = 32,
        position: str = 'center',
    ) -> None:
        if position not in ('center', 'top_left'):
            raise ValueError(f"LetterBox(position={position!r}): expected 'center' or 'top_left'")
        if rounding not in ('up', 'nearest', 'down'):
            raise ValueError(f"LetterBox(rounding={rounding!r}): expected 'up', 'nearest' or 'down'")
        if pad_to not in ('size', 'divisor'):
            raise ValueError(f"LetterBox(pad_to={pad_to!r}): expected 'size' or 'divisor'")
        self.size = size_pair(size)
        self.rounding = rounding
        self.enlarge = enlarge
        self.pad_to = pad_to
        self.size_divisor = size_divisor
        self.position = position

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        frame = self.size if sample.batch_frame is None else sample.batch_frame.shape(self.size)
        inner = self._inner(scene.size, frame)
        if sample.batch_frame is None and self.pad_to == 'divisor':
            # The leftover of a full letterbox, less whole multiples of the divisor.
            frame = tuple(side + (full - side) % self.size_divisor for side, full in zip(inner, frame, strict=True))
        return replace(sample, scene=letterbox_scene(scene, inner, frame, self.position))

    def _inner(self, shape: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
        """Return (h, w) of the scaled image."""
        fit = (min(frame[0], self.size[0]), min(frame[1], self.size[1]))
        ratio = min(fit[0] / shape[0], fit[1] / shape[1])
        if ratio > 1 and not self.enlarge:
            return shape
        if self.rounding == 'nearest':
            return max(round(shape[0] * ratio), 1), max(round(shape[1] * ratio), 1)
        if self.rounding == 'down':
            height, width = (
                (shape[0] * fit[1] // shape[1], fit[1])
                if fit[1] * shape[0] < fit[0] * shape[1]
                else (fit[0], shape[1] * fit[0] // shape[0])
            )
            return max(height, 1), max(width, 1)
        return fit_inside(shape, fit)


@TRANSFORMS.register_module()
class RandomAffine:
    """Turn, scale, shear, shift and tilt the sample about its centre, onto a canvas of ``size``.

    The centre of the old canvas comes to a random point near the centre of the new one, so that a mosaic's double
    canvas is cropped.

    Args:
        size: of the output, a side or (h, w); None: as before.
        translate: largest shift of the centre, as a share of the output's sides.
        scale: the factor is drawn from [1 - scale, 1 + scale], or between the two given, such as (0.1, 2).
        degrees: largest rotation either way.
        shear: largest shear angle either way, in degrees, on both axes.
        perspective: largest perspective coefficient, 1 / pixels; useful values are below 0.001, and what would turn
            part of the canvas inside out is reduced.
        prob: the probability that any of this is drawn; otherwise the centres are matched and no more.
    """

    stage = 'geometry'
    turning_arguments = ('degrees', 'shear', 'perspective')

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        translate: float = 0.1,
        scale: float | Sequence[float] = 0.5,
        degrees: float = 0.0,
        shear: float = 0.0,
        perspective: float = 0.0,
        prob: float = 1.0,
    ) -> None:
        is_range = not isinstance(scale, int | float)
        if is_range and not (len(scale) == 2 and 0 < scale[0] <= scale[1]) or not is_range and not 0 <= scale < 1:
            raise ValueError(
                f'RandomAffine(scale={scale}): expected a value in [0, 1), or the lowest and highest factor, above 0'
            )
        self.size = None if size is None else size_pair(size)
        self.translate = translate
        # The middle of the range of factors, and how far they reach from it.
        self.scale = ((scale[0] + scale[1]) / 2, (scale[1] - scale[0]) / 2) if is_range else (1.0, scale)
        self.degrees = degrees
        self.shear = shear
        self.perspective = perspective
        self.prob = prob

    def __call__(self, sample: Sample) -> Sample:
        scene = sample.scene
        size = self.size or scene.size
        matrix = self.draw_matrix(sample.rng, scene.size, size)
        return replace(sample, scene=scene.moved(matrix, size))

    def draw_matrix(self, rng: np.random.Generator, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
        """Return the 3x3 matrix from a canvas of ``old`` (h, w) to one of ``new``."""
        applies = rng.random() < self.prob
        tilt_x, tilt_y, angle, stretch, shear_x, shear_y, shift_x, shift_y = rng.uniform(-1, 1, 8) * applies
        centre = translation_matrix(-old[1] / 2, -old[0] / 2)
        matrix = centre
        if self.perspective:
            tilt = np.eye(3)
            tilt[2, :2] = tilt_x * self.perspective, tilt_y * self.perspective
            # Nothing of the old canvas may come near the horizon, where points turn inside out.
            reach = np.abs(tilt[2, :2]) @ [old[1] / 2, old[0] / 2]
            tilt[2, :2] *= min(1, _MAX_TILT / max(reach, 1e-9))
            matrix = tilt @ matrix
        middle, reach = self.scale
        factor = middle + stretch * reach if applies else 1.0
        matrix = scale_matrix(factor, factor) @ matrix
        if self.degrees:
            radians = math.radians(angle * self.degrees)
            cos, sin = math.cos(radians), math.sin(radians)
            matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ matrix
        if self.shear:
            tan_x, tan_y = (math.tan(math.radians(s * self.shear)) for s in (shear_x, shear_y))
            matrix = np.array([[1, tan_x, 0], [tan_y, 1, 0], [0, 0, 1]]) @ matrix
        back = translation_matrix(new[1] * (0.5 + shift_x * self.translate), new[0] * (0.5 + shift_y * self.translate))
        return back @ matrix


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirror the sample.

    Either way a left eye becomes a right one: keypoints are exchanged as the dataset's ``flip_pairs`` say. Where these
    are unknown, a sample with keypoints is left as it is.

    Args:
        prob: the probability of a flip.
        direction: 'horizontal' (left and right change places) or 'vertical'.
    """

    stage = 'geometry'

    def __init__(self, prob: float = 0.5, direction: str = 'horizontal') -> None:
        if direction not in ('horizontal', 'vertical'):
            raise ValueError(f"RandomFlip(direction={direction!r}): expected 'horizontal' or 'vertical'")
        self.prob = prob
        self.direction = direction

    def __call__(self, sample: Sample) -> Sample:
        if sample.rng.random() >= self.prob:
            return sample
        scene = sample.scene
        height, width = scene.size
        if self.direction == 'horizontal':
            matrix = translation_matrix(width, 0) @ scale_matrix(-1, 1)
        else:
            matrix = translation_matrix(0, height) @ scale_matrix(1, -1)
        tiles = [mirror_tile(tile, matrix, sample.flip_pairs) for tile in scene.tiles]
        return sample if None in tiles else replace(sample, scene=Scene(scene.size, tuple(tiles)))


def mirror_tile(tile: Tile, matrix: np.ndarray, flip_pairs: Sequence[tuple[int, int]] | None) -> Tile | None:
    """Return a tile moved by a mirroring ``matrix``, keypoints exchanged by pairs; None where the pairs are unknown."""
    own = tile.annotations
    if own.keypoints is not None:
        if flip_pairs is None:
            return None
        indices = flip_indices(flip_pairs, own.keypoints.shape[1])
        tile = replace(tile, annotations=replace(own, keypoints=own.keypoints[:, indices]))
    return tile.moved(matrix)
