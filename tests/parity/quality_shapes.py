"""What two environments agree on to compare losses of matched queries: logits, boxes, objects, and their matching."""

from __future__ import annotations

import torch
from parity.seeded import seeded_tensor
from torch import Tensor

SEED = 61
NUM_CLASSES = 7
# Labels, boxes cxcywh relative to the image, and the query of each object. The second image is empty; the last box of
# the third lies apart from that of its query.
OBJECTS = (
    ((3, (0.5, 0.4, 0.3, 0.5), 4), (0, (0.3, 0.6, 0.4, 0.4), 0)),
    (),
    ((6, (0.6, 0.5, 0.6, 0.7), 9), (6, (0.2, 0.3, 0.3, 0.4), 1), (2, (0.99, 0.99, 0.01, 0.01), 5)),
)


def predictions() -> tuple[Tensor, Tensor]:
    """Logits ``(3, 10, 7)`` and boxes ``(3, 10, 4)`` cxcywh relative to the image."""
    logits = (seeded_tensor((3, 10, NUM_CLASSES), 'logits', SEED) - 0.7) * 8
    return logits, seeded_tensor((3, 10, 4), 'boxes', SEED) * 0.4 + 0.25


def objects() -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each image labels ``(N,)``, boxes ``(N, 4)`` and queries ``(N,)``."""
    return [
        (
            torch.tensor([label for label, _, _ in own], dtype=torch.int64),
            torch.tensor([bbox for _, bbox, _ in own], dtype=torch.float64).view(-1, 4),
            torch.tensor([query for _, _, query in own], dtype=torch.int64),
        )
        for own in OBJECTS
    ]
