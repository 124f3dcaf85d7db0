"""A drawn scene with known tracks, and boxes of it as a detector would find them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPE = (240, 320)
_COLOURS = ((220, 180, 60), (70, 120, 220))  # of the two classes


@dataclass(frozen=True)
class MovingScene:
    """Boxes that move straight, some of which cross.

    Attributes:
        bboxes: ``(T, K, 4)`` xyxy of K objects in T frames.
        labels: ``(K,)``.
    """

    bboxes: np.ndarray
    labels: np.ndarray

    @classmethod
    def easy(cls, num_frames: int = 120) -> MovingScene:
        """Return five objects of two classes: on lanes of their own, in both directions, and two that cross."""
        starts = np.array([[10, 20], [280, 70], [20, 120], [150, 180], [300, 150]], float)
        ends = np.array([[280, 25], [20, 75], [290, 110], [160, 185], [20, 160]], float)
        sizes = np.array([[30, 24], [26, 30], [30, 30], [40, 36], [28, 28]], float)
        share = np.linspace(0, 1, num_frames)[:, None, None]
        middles = starts + (ends - starts) * share
        bboxes = np.concatenate([middles - sizes / 2, middles + sizes / 2], 2)
        return cls(bboxes.clip(0, [SHAPE[1], SHAPE[0]] * 2), np.array([0, 0, 1, 1, 0]))

    def noisy(self, frame: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return boxes, scores and labels as a fair detector finds them in a frame.

        Boxes are off by about 2 % of their size; one of 12 is missed, one of 10 has a low score; in every third frame
        there is a false box of a low score.
        """
        bboxes = self.bboxes[frame]
        sizes = np.tile(bboxes[:, 2:] - bboxes[:, :2], 2)
        found = rng.random(len(bboxes)) > 1 / 12
        bboxes = (bboxes + rng.normal(0, 0.02, bboxes.shape) * sizes)[found]
        labels = self.labels[found]
        scores = np.where(rng.random(len(bboxes)) < 0.1, 0.2, rng.uniform(0.6, 0.95, len(bboxes)))
        if frame % 3 == 0:
            corner = rng.uniform(0, 200, 2)
            bboxes = np.concatenate([bboxes, [[*corner, *(corner + 25)]]])
            labels, scores = np.append(labels, 0), np.append(scores, 0.15)
        return bboxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64)

    def draw(self, frame: int, offset: tuple[int, int] = (0, 0)) -> np.ndarray:
        """Return a frame, ``(H, W, 3)`` uint8 RGB: the objects of a class have its colour and pattern.

        Args:
            frame: its number.
            offset: moves all objects by (x, y) pixels, for a frame that is not in the scene.
        """
        rng = np.random.default_rng(frame)
        img = rng.integers(60, 90, (*SHAPE, 3)).astype(np.uint8)
        for bbox, label in zip(self.shifted(frame, offset), self.labels, strict=True):
            x0, y0, x1, y1 = np.rint(bbox).astype(int)
            img[y0:y1, x0:x1] = _COLOURS[label]
            img[y0:y1:6, x0:x1] = 20
            img[y0:y1, x0 : x1 : 6 + 6 * int(label)] = 20
        return img

    def shifted(self, frame: int, offset: tuple[int, int]) -> np.ndarray:
        """Return the boxes ``(K, 4)`` of ``draw``."""
        return (self.bboxes[frame] + np.tile(offset, 2)).clip(0, [SHAPE[1], SHAPE[0]] * 2)
