"""What two environments agree on to compare RF-DETRs: models, weights, images, objects, and what is differentiated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from parity.seeded import seeded_state, seeded_tensor
from torch import Tensor

SEED = 53
EMBED_DIMS, DEPTH, HEADS, PATCH = 32, 4, 4, 8
# Windows, rows and columns of the table of positions, and the side of the images: the table's own, or another.
BACKBONES = {'windows': (2, 8, 64), 'resized': (2, 6, 64), 'whole': (1, 8, 96)}
OUT_BLOCKS = (1, 3, 4)  # after which maps are returned; of those that follow, 1 and 3 attend over all windows
PROJECTOR_DIMS = 24
# The detector, on the backbone 'windows'.
DIMS, SELF_HEADS, CROSS_HEADS, POINTS, FEEDFORWARD_DIMS = 32, 4, 8, 2, 48
LAYERS, QUERIES, GROUPS, NUM_CLASSES, SIDE = 3, 10, 3, 7, 64
# Label and box, cxcywh in pixels, of the objects of each image.
OBJECTS = (((3, 20.0, 24.0, 22.0, 30.0), (0, 45.0, 40.0, 30.0, 20.0)), (), ((6, 32.0, 32.0, 60.0, 50.0),))


def state_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights by transformers' names; positions are scaled up, so that cells differ."""
    state = seeded_state(shapes, SEED)
    for name, value in state.items():
        if name.endswith('position_embeddings'):
            value.mul_(20)
    return state


def objects() -> list[tuple[Tensor, Tensor]]:
    """For each image labels ``(N,)`` int64 and boxes ``(N, 4)`` float64 cxcywh relative to the image."""
    tables = [torch.tensor(own, dtype=torch.float64).reshape(-1, 5) for own in OBJECTS]
    return [(table[:, 0].long(), table[:, 1:] / SIDE) for table in tables]


def object_masks() -> list[Tensor]:
    """For each image the masks ``(N, SIDE, SIDE)``, bool: the ellipse in each box."""
    y, x = torch.meshgrid(*[torch.arange(SIDE) + 0.5] * 2, indexing='ij')
    masks = []
    for own in OBJECTS:
        inside = [((x - cx) / w) ** 2 + ((y - cy) / h) ** 2 < 0.25 for _, cx, cy, w, h in own]
        masks.append(torch.stack(inside) if inside else torch.zeros(0, SIDE, SIDE, dtype=torch.bool))
    return masks


def points(count: int) -> Tensor:
    """Random points ``(count, 2)``, the same for every mask."""
    return seeded_tensor((count, 2), 'points', SEED)


def images() -> Tensor:
    return seeded_tensor((len(OBJECTS), 3, SIDE, SIDE), 'images', SEED) * 4 - 2


def image(side: int) -> Tensor:
    return seeded_tensor((2, 3, side, side), 'image', SEED) * 4 - 2


def loss_of(feats: Sequence[Tensor]) -> Tensor:
    """A number to which every cell of every map contributes differently."""
    return torch.stack(
        [(feat * seeded_tensor(feat.shape, f'map {i}', SEED)).mean() for i, feat in enumerate(feats)]
    ).sum()


# Published sizes: the side of the images, and the decoder's layers.
PUBLISHED = {'n': (384, 2), 's': (512, 3)}
PUBLISHED_CLASSES = 80


def published_images(side: int) -> Tensor:
    return seeded_tensor((2, 3, side, side), 'published images', SEED) * 4 - 2


def published_objects() -> tuple[Tensor, Tensor]:
    """Labels ``(N,)`` int64 and boxes ``(N, 4)`` float64 cxcywh relative to the image, of the first image."""
    table = torch.tensor([own for image in OBJECTS for own in image], dtype=torch.float64)
    return table[:, 0].long() * 11, table[:, 1:] / SIDE
