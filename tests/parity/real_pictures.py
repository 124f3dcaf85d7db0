"""What two environments agree on to compare detections on real pictures, which shrink to less than half."""

from __future__ import annotations

import re
import zlib

import numpy as np
from torch import Tensor

# Of the folder of real pictures: files of 640 and, for rotated boxes, of 1024 pixels.
PICTURES = ('coco128/train2017/000000000009.jpg', 'coco128/train2017/000000000036.jpg')
OBB_PICTURES = (
    'dota8/images/train/P0861__1024__0___1648.jpg',
    'dota8/images/val/P1470__1024__3296___1648.jpg',
)
SIZES = {'det': 224, 'seg': 192, 'pose': 288, 'obb': 320, 'cls': 64}
DETR_SHORT_SIDE, DETR_MAX_SIZE = 192, 250  # the second picture's shorter side follows from the longer one
DARKNET_SIZE = 224
SCORE_THR = 0.001
ROWS = 12


def pictures_of(task: str) -> tuple[str, ...]:
    return OBB_PICTURES if task == 'obb' else PICTURES


def with_spread_scores(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights whose class scores on real pictures are not all 1; the factor is exact in half precision."""
    factor = {'model.22.cv3.': 2.0**-4, 'model.9.linear.': 2.0**-2}
    scaled = {}
    for name, value in state.items():
        prefix = next((prefix for prefix in factor if name.startswith(prefix)), None)
        last = name.endswith(('.2.weight', 'linear.weight'))
        scaled[name] = value * factor[prefix] if prefix and last else value
    return scaled


def with_spread_boxes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a YOLO26 whose scores on real pictures are not all 1, and whose boxes have positive sides."""
    spread = {}
    for name, value in state.items():
        branch = re.fullmatch(r'model\.23\.(?:one2one_)?(cv[23])\.\d\.2\.(weight|bias)', name)
        if branch and branch[2] == 'weight':
            value = value * 2.0**-5
        elif branch and branch[1] == 'cv2':
            value = value * 0 + 2
        spread[name] = value * 2.0**-2 if name == 'model.10.linear.weight' else value
    return spread


def digest(img: np.ndarray) -> dict[str, np.ndarray]:
    """What is stored of an RGB image: its shape, a checksum, and 1024 of its bytes."""
    flat = np.ascontiguousarray(img).ravel()
    samples = flat[np.linspace(0, len(flat) - 1, 1024).astype(np.int64)]
    return {'shape': np.array(img.shape[:2]), 'crc': np.array(zlib.crc32(flat.tobytes())), 'samples': samples}
