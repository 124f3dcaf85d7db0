"""The pictures, settings and weights of ``ultralytics_detector.npz``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_COCO = tuple(f'coco8-seg/images/{name}.jpg' for name in ('train/000000000009', 'val/000000000036', 'val/000000000049'))
_DOTA = ('dota8/images/train/P0861__1024__0___1648.jpg', 'dota8/images/val/P1470__1024__3296___1648.jpg')
IMAGES = {'det': _COCO, 'seg': _COCO, 'pose': _COCO, 'cls': _COCO, 'obb': _DOTA}
# No image shrinks by more than 2: those of coco8 have a longer side of 500 or 640 pixels, those of dota8 one of 1024.
SIZES = {'det': (640, 416), 'seg': (640, 416), 'pose': (640, 416), 'cls': (256, 384), 'obb': (1024, 640)}
# Of rotated boxes the reference compares all pairs, so that fewer are let through.
SCORE_THRS = {('obb', 1024): 0.17, ('obb', 640): 0.14}
SCORE_THR, IOU_THR, BEST = 0.01, 0.7, 20


def spread(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights, by the reference's names, whose outputs on real pictures do not saturate.

    The last layers of a detector's branches, and of a classifier, are made smaller, which gives scores that differ and
    boxes between whole strides.
    """
    last = re.compile(r'model\.22\.cv[234]\.\d\.2\.weight|model\.9\.linear\.weight')
    scale = {name: 0.03 if '.cv3.' in name else 0.1 for name in state if last.fullmatch(name)}
    return {
        name: value * scale.get(name, 1.0) + (3.0 if re.fullmatch(r'model\.22\.cv3\.\d\.2\.bias', name) else 0.0)
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }
