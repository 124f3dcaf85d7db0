"""What two environments agree on to compare losses and results: ground truth of simple shapes, weights, mask inputs."""

from __future__ import annotations

import re

import numpy as np
import torch
from parity.seeded import seeded_state, seeded_tensor
from torch import Tensor

IMG_SHAPE = (96, 128)
# Of YOLOv8, also with four levels, YOLO11 and YOLO26.
_CLASS_BIASES = re.compile(r'model\.(2[238]|30)\.(one2one_)?cv3\.\d\.2\.bias')
MASK_STRIDE = 4

# (h, w) of the network's input and of the original image, whose padding is a whole number of prototype pixels.
MASK_CASES = {'same': ((96, 128), (96, 128)), 'enlarged': ((96, 128), (48, 64)), 'padded': ((128, 128), (160, 256))}

# Of three images, the second without objects: (label, centre x, centre y, half width, half height, is an ellipse) in
# pixels. Large and small, overlapping, sharing a class, smaller than two cells, reaching the border; larger ones first,
# as in a pipeline's overlap map, in which smaller ones lie on top. The small ones lie where all candidates overlap with
# their box: which of several candidates of metric 0 are chosen is an accident of the sorting routine.
OBJECTS = (
    (
        (17, 66.0, 50.0, 52.0, 38.0, True),
        (3, 40.5, 43.25, 30.0, 26.5, False),
        (3, 52.0, 52.75, 21.0, 24.0, True),
        (60, 104.2, 30.1, 23.8, 21.7, False),
        (0, 90.0, 80.0, 6.5, 7.0, True),
        (79, 24.2, 85.4, 5.0, 7.5, False),
    ),
    (),
    (
        (60, 32.0, 48.0, 32.0, 40.0, True),
        (5, 88.4, 60.3, 33.1, 25.2, True),
        (5, 96.0, 24.0, 16.0, 12.0, False),
    ),
)


def ground_truth() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each image labels ``(N,)``, boxes ``(N, 4)`` float64 xyxy pixels, the overlap map ``(h, w)`` uint8."""
    height, width = IMG_SHAPE[0] // MASK_STRIDE, IMG_SHAPE[1] // MASK_STRIDE
    y, x = np.mgrid[:height, :width] * MASK_STRIDE + MASK_STRIDE / 2
    images = []
    for objects in OBJECTS:
        table = np.array(objects, np.float64).reshape(-1, 6)
        centres, halves = table[:, 1:3], table[:, 3:5]
        index_map = np.zeros((height, width), np.uint8)
        for number, (_, cx, cy, half_w, half_h, ellipse) in enumerate(table, 1):
            across, down = np.abs(x - cx) / half_w, np.abs(y - cy) / half_h
            index_map[across**2 + down**2 <= 1 if ellipse else np.maximum(across, down) <= 1] = number
        bboxes = np.concatenate([centres - halves, centres + halves], 1)
        images.append((table[:, 0].astype(np.int64), bboxes, index_map))
    return images


def loss_state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """``seeded_state`` with class biases lowered as training lowers them: most points see nothing."""
    state = seeded_state(shapes, seed)
    for name, value in state.items():
        if _CLASS_BIASES.fullmatch(name):
            value -= 5
    return state


def mask_inputs(input_shape: tuple[int, int], ori_shape: tuple[int, int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random prototypes ``(32, h, w)``, coefficients ``(8, 32)``, boxes ``(8, 4)`` in original pixels, all float32."""
    protos = seeded_tensor((32, input_shape[0] // 4, input_shape[1] // 4), 'protos', seed) - 0.5
    coeffs = seeded_tensor((8, 32), 'coeffs', seed) - 0.5
    corners = seeded_tensor((8, 2, 2), 'corners', seed).sort(1).values
    bboxes = (corners * torch.tensor(ori_shape[::-1])).flatten(1)
    return protos.float(), coeffs.float(), bboxes.float()
