"""Merging of overlapping masks into panoptic segments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detkit.structures.panoptic import PanopticSegments


def merge_segments(
    mask_logits: Tensor, scores: Tensor, labels: Tensor, stuff_labels: Sequence[int], min_area: int = 4
) -> PanopticSegments:
    """Assign each pixel to the mask with the greatest logit (DETR, arXiv:2005.12872, section 4.4).

    Masks of one class of stuff become one segment. Segments of no more than ``min_area`` pixels are removed, and
    their pixels assigned to the remaining masks, until all are larger.

    Args:
        mask_logits: ``(N, H, W)``.
        scores: ``(N,)``; a segment of several masks has the best of their scores.
        labels: ``(N,)`` int64.
        stuff_labels: labels of which an image has one segment.
        min_area: area in pixels that a segment must exceed.
    """
    count, height, width = mask_logits.shape
    segment_of = _first_of_each(labels, stuff_labels)  # (N,) the mask whose segment each belongs to
    alive = torch.arange(count, device=labels.device)
    owners = segment_of.new_zeros(height, width)
    while len(alive):
        owners = segment_of[alive[mask_logits[alive].argmax(0)]]  # (H, W)
        areas = torch.bincount(owners.flatten(), minlength=count)
        large = areas[segment_of[alive]] > min_area
        if large.all():
            break
        alive = alive[large]
    kept = segment_of[alive].unique()  # sorted
    number_of = torch.zeros(max(count, 1), dtype=torch.int64, device=labels.device)
    number_of[kept] = torch.arange(1, len(kept) + 1, device=labels.device)
    best = scores.new_zeros(count).scatter_reduce(0, segment_of[alive], scores[alive], 'amax', include_self=False)
    return PanopticSegments(
        number_of[owners].to(torch.int32).cpu().numpy(), labels[kept].cpu().numpy(), best[kept].float().cpu().numpy()
    )


def _first_of_each(labels: Tensor, stuff_labels: Sequence[int]) -> Tensor:
    """Return ``(N,)``: for a mask of stuff the first mask of its class, for any other mask the mask itself."""
    numbers = torch.arange(len(labels), device=labels.device)
    if not len(stuff_labels):
        return numbers
    stuff = torch.isin(labels, torch.as_tensor(list(stuff_labels), dtype=labels.dtype, device=labels.device))
    same = stuff & (labels[:, None] == labels)  # (N, N), empty rows of things
    return torch.where(stuff, same.int().argmax(1) if len(labels) else numbers, numbers)
