"""Ground truth made for the tests of heads, assigners and losses."""

from __future__ import annotations

import torch

from detkit.structures.gt_batch import GtBatch


def make_gt(counts: list[int], size: int = 64, num_classes: int = 5, seed: int = 0, mask_stride: int = 4) -> GtBatch:
    """Random boxes of 6 to ``size`` pixels, ``counts`` an image, with rectangular masks as an overlap map."""
    generator = torch.Generator().manual_seed(seed)
    batch_size, most = len(counts), max(counts)
    sides = torch.rand(batch_size, most, 2, generator=generator) * (size - 6) + 6
    corners = torch.rand(batch_size, most, 2, generator=generator) * (size - sides)
    valid = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
    bboxes = torch.cat([corners, corners + sides], -1) * valid.unsqueeze(-1)
    labels = torch.randint(0, num_classes, (batch_size, most), generator=generator).where(valid, torch.tensor(-1))
    masks = torch.zeros(batch_size, size // mask_stride, size // mask_stride, dtype=torch.uint8)
    for image, count in enumerate(counts):
        for number, (x0, y0, x1, y1) in enumerate((bboxes[image, :count] / mask_stride).round().int().tolist(), 1):
            masks[image, y0:y1, x0:x1] = number
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.full((batch_size, 2), size),
        masks=masks,
    )
