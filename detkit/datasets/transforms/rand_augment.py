"""``RandAugment``: a few operations at random, all of one strength."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from detkit.datasets.transforms.photometry import PIXEL_OPERATIONS
from detkit.registry import TRANSFORMS
from detkit.structures.sample import PixelOperation, Sample
from detkit.structures.scene import translation_matrix

__all__ = ['RandAugment']

_LARGEST = 30
_GEOMETRIC = ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate')
_OPERATIONS = ('identity', *_GEOMETRIC, *PIXEL_OPERATIONS)


@TRANSFORMS.register_module()
class RandAugment:
    """Draw ``num_ops`` of fourteen operations, with replacement (arXiv:1909.13719).

    It comes before ``Render``: its geometric operations are multiplied into the scene's matrices, so that the image is
    still sampled once, and what it draws of colour is left to ``Render`` to do on the result, in the order drawn.
    After a random crop they show what lies beside the crop, where torchvision's leave black borders; shears are about
    the centre, torchvision's about the corner. Operations on pixels equal torchvision's up to rounding.

    At strength 30: shears by .3, shifts by 150/331 of the size, rotation by 30°, brightness, saturation, contrast and
    sharpness scaled by 1 ± .9, posterising to 4 bits, solarising all values; lower strengths are proportional. Both
    signs are equally likely. Auto-contrast and equalising have no strength.

    Args:
        num_ops: how many operations a sample.
        magnitude: their strength, 0 … 30.
        prob: the probability that anything is done.
    """

    stage = 'geometry'
    turning_arguments = ('magnitude',)

    def __init__(self, num_ops: int = 2, magnitude: float = 9, prob: float = 1.0) -> None:
        if not 0 <= magnitude <= _LARGEST:
            raise ValueError(f'RandAugment(magnitude={magnitude}): expected a value from 0 to {_LARGEST}')
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.prob = prob

    def __call__(self, sample: Sample) -> Sample:
        rng = sample.rng
        if rng.random() >= self.prob:
            return sample
        strength = self.magnitude / _LARGEST
        scene = sample.scene
        operations = list(sample.pixel_operations)
        for number in rng.integers(len(_OPERATIONS), size=self.num_ops):
            name = _OPERATIONS[number]
            sign = 1.0 if rng.random() < 0.5 else -1.0
            if name in _GEOMETRIC:
                scene = scene.moved(about_centre(motion(name, sign * strength, scene.size), scene.size))
            elif name in PIXEL_OPERATIONS:
                operations.append(PixelOperation(name, sign * strength))
        return replace(sample, scene=scene, pixel_operations=tuple(operations))


def motion(name: str, strength: float, size: tuple[int, int]) -> np.ndarray:
    """Return the 3x3 matrix of a geometric operation about the origin; ``strength`` in -1 … 1, ``size`` (h, w)."""
    if name == 'rotate':
        radians = math.radians(30 * strength)
        cos, sin = math.cos(radians), math.sin(radians)
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    if name == 'translate_x':
        return translation_matrix(150 / 331 * size[1] * strength, 0)
    if name == 'translate_y':
        return translation_matrix(0, 150 / 331 * size[0] * strength)
    matrix = np.eye(3)
    matrix[(0, 1) if name == 'shear_x' else (1, 0)] = 0.3 * strength
    return matrix


def about_centre(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    x, y = size[1] / 2, size[0] / 2
    return translation_matrix(x, y) @ matrix @ translation_matrix(-x, -y)
