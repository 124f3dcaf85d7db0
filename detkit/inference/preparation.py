"""``Preparation``: from the pixels of images to a batch, by a config's own test pipeline."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import lcm
from typing import Any

import numpy as np
from mmengine.config import Config

from detkit.datasets.collate import collate
from detkit.datasets.transforms.choice import mixing_names
from detkit.datasets.transforms.geometry import LetterBox, size_pair
from detkit.datasets.transforms.loading import LoadImageFromFile
from detkit.datasets.transforms.pipeline import apply_transform
from detkit.datasets.transforms.reduced_decoding import DecodedImage
from detkit.inference.steps import collate_arguments, prediction_steps, sizes_of
from detkit.registry import TRANSFORMS
from detkit.structures.annotations import Annotations, Record
from detkit.structures.sample import Sample
from detkit.utils.errors import ConfigError
from detkit.utils.limits import MAX_PIXELS
from detkit.utils.rng import keyed_rng


class Preparation:
    """The test pipeline of a config, for images that are decoded already.

    Args:
        config: see ``prediction_steps``, also for the other arguments.
        img_size: the input size.
        classifies: whether the model classifies whole images.
        fixed_size: (h, w) of every input, where the network takes no other.

    Attributes:
        size_divisor: sides of a batch are padded to multiples of it: those of the config's own batches, and whole
            strides where images are letterboxed, as padding would count in a classifier's mean.
        max_pixels: most pixels of an image that is decoded.
    """

    def __init__(
        self, config: Config | dict, img_size: int, classifies: bool, fixed_size: tuple[int, int] | None = None
    ) -> None:
        steps = prediction_steps(config, img_size, classifies, fixed_size)
        self._transforms = [TRANSFORMS.build(step) for step in steps]
        self._mixing = frozenset(mixing_names(self._transforms))
        divisors = [step.size_divisor for step in self._transforms if isinstance(step, LetterBox)]
        self._letterboxes = bool(divisors)
        self._collate = collate_arguments(config)
        self.size_divisor = lcm(32 if divisors else 1, *divisors, self._collate.get('size_divisor', 1))
        sizes = (size for step in steps for size in sizes_of(step).values())
        self._longest_side = max((side for size in sizes for side in size_pair(size)), default=img_size)
        self.max_pixels = max(
            (step.max_pixels for step in self._transforms if isinstance(step, LoadImageFromFile)), default=MAX_PIXELS
        )

    def __call__(
        self, img: np.ndarray, name: str, img_id: int | str, number: int = 0, whole: DecodedImage | None = None
    ) -> dict[str, Any]:
        """Return the packed sample of an image ``(H, W, 3)`` uint8 RGB.

        Args:
            img: the image.
            name: its path, or what stands for it.
            img_id: its id.
            number: its index in the source, from which random draws come where the pipeline has any.
            whole: the same image with the whole one's size, as which the pipeline is to scale and pad ``img``.

        Raises:
            UnreadableImageError: it would become too large.
        """
        record = Record(name, img_id, img.shape[:2], Annotations())
        sample: Any = Sample(record, keyed_rng(0, 0, number), inactive=self._mixing, images={name: img})
        for transform in self._transforms:
            sample = apply_transform(transform, sample, _no_others)
            if whole is not None and isinstance(transform, LoadImageFromFile):
                scene = replace(sample.scene.moved(np.linalg.inv(whole.matrix)), size=whole.ori_shape)
                sample = replace(sample, scene=scene)
        return sample

    def batch_of(self, packed: Sequence[dict]) -> dict[str, Any]:
        """Return the batch of images that are packed already, at least one."""
        return collate(packed, **{**self._collate, 'size_divisor': self.size_divisor})

    def of_decoded(self, decoded: DecodedImage, name: str, img_id: int | str, number: int = 0) -> dict[str, Any]:
        """Return the packed sample of an image that may be decoded at a part of its size; see calling this."""
        packed = self(decoded.img, name, img_id, number, None if decoded.matrix is None else decoded)
        if decoded.matrix is not None:
            packed['meta'] |= dict(ori_shape=decoded.ori_shape, matrix=packed['meta']['matrix'] @ decoded.matrix)
        return packed

    def divisor_of(self, shape: tuple[int, int]) -> int:
        """Return by what a JPEG of (h, w) may be reduced so that the pipeline need not enlarge it: 8, 4, 2, or 1."""
        side = max(shape) if self._letterboxes else min(shape)
        return next((divisor for divisor in (8, 4, 2) if side >= divisor * self._longest_side), 1)


def scaled_preparations(
    config: Config | dict,
    img_size: int,
    classifies: bool,
    fixed_size: tuple[int, int] | None,
    scales: Collection[float],
) -> dict[float, Preparation]:
    """Return a preparation for each scale of ``img_size``; arguments as of ``Preparation``.

    Raises:
        ConfigError: the network takes images of one size only.
    """
    if fixed_size is not None and set(scales) != {1}:
        raise ConfigError(
            f'the exported network takes {fixed_size[0]} x {fixed_size[1]} only, so that images cannot be scaled by '
            'tta: give flips alone, or export with dynamic size'
        )
    return {scale: Preparation(config, max(round(img_size * scale), 32), classifies, fixed_size) for scale in scales}


def _no_others(count: int) -> list[Sample]:
    raise ConfigError('the test pipeline mixes several images (mosaic, mixup); prediction has one image at a time')
