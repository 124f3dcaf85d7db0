"""``CopyBlend``: objects of another image, blended into this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detkit.datasets.transforms.mixing import MixTransform
from detkit.registry import TRANSFORMS
from detkit.structures.annotations import Annotations
from detkit.structures.sample import Sample

__all__ = ['CopyBlend']


@TRANSFORMS.register_module()
class CopyBlend(MixTransform):
    """Average rectangles around some objects, its own or of another image, with random places (DEIMv2).

    From arXiv:2509.20787. It stands behind ``Render``, which both images have gone through. A sample that ``MixUp`` has
    averaged stays as it is, and so does one whose objects have more than a box: masks, keypoints or angles.

    Args:
        prob: the probability of blending.
        num_objects: how many objects are blended in; fewer where the two images have fewer.
        min_area: objects of fewer square pixels are not taken.
        expand: the rectangle is larger than the object's box on each side by a share of the box's side that is drawn
            from this range, as far as both images reach.
        share: the share of the blended pixels is drawn from this range.
    """

    stage = 'pixels'

    def __init__(
        self,
        prob: float = 0.5,
        num_objects: int = 3,
        min_area: float = 100.0,
        expand: Sequence[float] = (0.1, 0.25),
        share: Sequence[float] = (0.45, 0.55),
    ) -> None:
        for name, limits in (('expand', expand), ('share', share)):
            if not 0 <= limits[0] <= limits[1] <= 1:
                raise ValueError(f'CopyBlend({name}={tuple(limits)}): expected 0 <= lowest <= highest <= 1')
        self.prob = prob
        self.num_objects = num_objects
        self.min_area = min_area
        self.expand = tuple(expand)
        self.share = tuple(share)

    def draw(self, sample: Sample) -> tuple[float] | None:
        """Draw the share of the blended pixels."""
        rng = sample.rng
        if rng.random() >= self.prob or sample.skips(self) or any(tile.layer for tile in sample.scene.tiles):
            return None
        return (float(rng.uniform(*self.share)),)

    def mix(self, sample: Sample, others: Sequence[Sample], drawn: tuple[float]) -> Sample:
        (share,) = drawn
        donors = [sample, *others]
        if any(_has_more_than_boxes(donor) for donor in donors):
            return sample
        bboxes = [donor.annotations.bboxes for donor in donors]
        origin = np.repeat(np.arange(len(donors)), [len(each) for each in bboxes])
        pool = Annotations.concatenate([donor.annotations for donor in donors])
        rects = np.concatenate([_whole_pixels(box, donor.img) for box, donor in zip(bboxes, donors, strict=True)])
        sides = rects[:, 2:] - rects[:, :2]
        height, width = sample.img.shape[:2]
        fits = (sides > 0).all(1) & (sides <= (width, height)).all(1) & (sides.prod(1) >= self.min_area) & ~pool.ignored
        chosen = sample.rng.permutation(np.flatnonzero(fits))[: self.num_objects]
        img, added = sample.img.copy(), np.zeros((len(chosen), 4), np.float32)
        for place, index in enumerate(chosen):
            donor, rect = donors[origin[index]], rects[index]
            corner = sample.rng.integers((width, height) - sides[index] + 1)  # (x, y) of the box in this image
            added[place] = (*corner, *(corner + sides[index]))
            margin = (sides[index] * sample.rng.uniform(*self.expand)).astype(np.int64)
            before = np.minimum.reduce([margin, rect[:2], corner])
            room = np.array(donor.img.shape[1::-1]) - rect[2:], (width, height) - corner - sides[index]
            after = np.minimum.reduce([margin, *room])
            (x0, y0), (x1, y1) = corner - before, corner + sides[index] + after
            (left, top), (right, bottom) = rect[:2] - before, rect[2:] + after
            # The sum of two rounded products would be off by a grey level.
            blend = img[y0:y1, x0:x1] * np.float32(1 - share) + donor.img[top:bottom, left:right] * np.float32(share)
            img[y0:y1, x0:x1] = np.rint(blend).astype(np.uint8)
        own = sample.annotations
        parts = [
            Annotations(own.labels, own.bboxes, own.ignored, own.areas, values=own.values),
            Annotations(pool.labels[chosen], added, values={key: value[chosen] for key, value in pool.values.items()}),
        ]
        return replace(sample, img=img, annotations=Annotations.concatenate(parts))


def _has_more_than_boxes(sample: Sample) -> bool:
    own = sample.annotations
    return sample.masks is not None or own.keypoints is not None or own.rbboxes is not None


def _whole_pixels(bboxes: np.ndarray, img: np.ndarray) -> np.ndarray:
    """Return boxes ``(N, 4)`` cut to an image, in whole pixels, int64."""
    height, width = img.shape[:2]
    return np.clip(bboxes.astype(np.int64), 0, (width, height, width, height))
