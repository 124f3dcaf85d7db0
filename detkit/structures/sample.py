"""``Sample``: the state of one image on its way through a pipeline."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from detkit.structures.annotations import Annotations, Record
from detkit.structures.render_plan import CanvasDrawing
from detkit.structures.scene import Scene


@dataclass(frozen=True)
class PixelOperation:
    """A change of colour that a transform has drawn and that ``Render`` carries out on the rendered image.

    Attributes:
        name: an operation of ``detkit.datasets.transforms.photometry``.
        strength: -1 ... 1; the sign means less or more.
    """

    name: str
    strength: float


@dataclass(frozen=True)
class BatchFrame:
    """The common frame of a rectangular batch.

    Attributes:
        relative_shapes: (h, w) of the batch's images when each is scaled to a long side of 1, each shape once.
        size_divisor: sides of the frame are multiples of it, in pixels.
        pad: added before rounding up, in units of ``size_divisor``.
    """

    relative_shapes: tuple[tuple[float, float], ...]
    size_divisor: int
    pad: float

    @classmethod
    def of_shapes(cls, shapes: Sequence[tuple[int, int]], size_divisor: int, pad: float) -> BatchFrame:
        """Return the frame of images of these shapes (h, w)."""
        relative = sorted({(height / max(height, width), width / max(height, width)) for height, width in shapes})
        return cls(tuple(relative), size_divisor, pad)

    def shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (h, w) of the frame for images that are scaled to fit ``size`` (h, w)."""
        scales = [min(size[0] / height, size[1] / width) for height, width in self.relative_shapes]
        height, width = (
            math.ceil(
                max(shape[axis] * scale for shape, scale in zip(self.relative_shapes, scales, strict=True))
                / self.size_divisor
                + self.pad
            )
            * self.size_divisor
            for axis in (0, 1)
        )
        return height, width


@dataclass
class Sample:
    """One image with all that transforms read and make; a transform takes a sample and returns a changed copy.

    The dataset fills the first group of fields, ``LoadImageFromFile`` the scene, ``Render`` what follows it. Training,
    testing and prediction build the same sample.

    Attributes:
        record: path, id, size and annotations of the image as the dataset read them.
        rng: the source of every random draw, keyed by seed, epoch and position; shared with the images mixed in.
        epoch: the epoch of the training run, from 0.
        test_mode: whether the packed sample keeps the original image's ground truth.
        inactive: names of transforms that leave this sample as it is, such as the mosaic in the last epochs
            (``CloseTransformsHook``).
        images: decoded images by path, RGB uint8 ``(h, w, 3)``; shared by a batch.
        flip_pairs: pairs of keypoints that a mirror exchanges, or None where they are unknown.
        batch_frame: the frame of a rectangular batch, or None.
        skip_reason: why a grey image replaces this one, or None.
        scene: the lazy image: tiles and matrices.
        ori_shape: (h, w) of the decoded image.
        pixel_operations: changes of colour that ``Render`` carries out, in this order.
        img: the rendered image, uint8 RGB ``(H, W, 3)``; None where it is drawn later, by ``drawing``.
        drawing: how the image will be drawn, where ``Render`` leaves that to the loader.
        annotations: the objects left in the rendered image, in its pixels.
        matrix: ``(3, 3)`` float64, original pixels of the sample's own image -> pixels of ``img``.
        masks: index map ``(h, w)`` or ``(N, h, w)`` bool, or None where none are drawn.
    """

    record: Record
    rng: np.random.Generator
    epoch: int = 0
    test_mode: bool = False
    inactive: frozenset[str] = frozenset()
    images: MutableMapping[str, np.ndarray] = field(default_factory=dict)
    flip_pairs: Sequence[tuple[int, int]] | None = None
    batch_frame: BatchFrame | None = None
    skip_reason: str | None = None

    scene: Scene | None = None
    ori_shape: tuple[int, int] | None = None
    pixel_operations: tuple[PixelOperation, ...] = ()

    img: np.ndarray | None = None
    drawing: CanvasDrawing | None = None
    annotations: Annotations | None = None
    matrix: np.ndarray | None = None
    masks: np.ndarray | None = None

    def skips(self, transform: object) -> bool:
        """Tell whether a transform leaves this sample as it is."""
        return type(transform).__name__ in self.inactive
