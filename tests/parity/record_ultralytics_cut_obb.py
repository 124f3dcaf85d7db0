"""Records how ultralytics 8.4.190 cuts rotated boxes at the border of an image, into ultralytics_cut_obb.npz.

Run in an environment that has ultralytics 8.4.190 (it is no dependency of detkit):

    cd tests && python -m parity.record_ultralytics_cut_obb

The boxes are drawn from a seeded generator around an image of ``SIZE`` (h, w); they are cut as its augmentation does
(``Instances.clip`` with ``preserve_obb``). Left out is only the resampling of outlines, whose points miss the corners.

- ``rbboxes``: ``(N, 5)`` cx, cy, w, h, angle before; ``SIZE``;
- ``bboxes``: ``(N, 4)`` xyxy of what can be seen, and ``corners``: ``(N, 4, 2)`` of its rotated box; zeros of nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ultralytics
from ultralytics.utils import instance

SIZE = (96, 128)
COUNT = 60


def main() -> None:
    rng = np.random.default_rng(5)
    center = rng.uniform(-10, 10, (COUNT, 2)) + rng.uniform(0, 1, (COUNT, 2)) * SIZE[::-1]
    sides = np.sort(rng.uniform(4, 60, (COUNT, 2)), 1)[:, ::-1]
    angle = rng.uniform(-np.pi / 4, 3 * np.pi / 4, (COUNT, 1))
    along = np.concatenate([np.cos(angle), np.sin(angle)], 1) * sides[:, :1] / 2
    across = np.concatenate([-np.sin(angle), np.cos(angle)], 1) * sides[:, 1:] / 2
    corners = center[:, None] + np.stack([-along - across, along - across, along + across, across - along], 1)
    bboxes = np.concatenate([corners.min(1), corners.max(1)], 1)
    instance.resample_segments = lambda segments, n: segments
    cut = instance.Instances(
        bboxes.astype(np.float32), corners.astype(np.float32), bbox_format='xyxy', normalized=False
    )
    cut.clip(SIZE[1], SIZE[0], preserve_obb=True)
    np.savez_compressed(
        Path(__file__).with_name('ultralytics_cut_obb.npz'),
        version=np.array(ultralytics.__version__),
        size=np.array(SIZE),
        rbboxes=np.concatenate([center, sides, angle], 1).astype(np.float32),
        bboxes=cut.bboxes,
        corners=cut.segments,
    )
    print(np.abs(cut.segments - corners).max((1, 2)).round(1), (cut.bboxes == 0).all(1).sum())


if __name__ == '__main__':
    main()
