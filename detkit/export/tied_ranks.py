"""Queries of nearly equal scores that a file ranks in another order, where each rank has an embedding of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ['in_the_order_of']

# Scores of cells that rounding may rank in either order differ by no more.
_TIE = 1e-5
# Ranks are compared where their boxes, as a share of the input's longer side, or scores differ by more.
_SEEN = 1e-4
# A cell moves by one rank in a pass.
_MOST_PASSES = 8


def in_the_order_of(
    given: Mapping[str, Tensor],
    expected: dict[str, Tensor],
    model: nn.Module,
    inputs: tuple[Tensor, Tensor | None],
    scores: Tensor | None,
) -> dict[str, Tensor]:
    """Return a model's decoded predictions with the cells of nearly equal scores in the order that a file ranks them.

    The model runs anew with cells of neighbouring ranks exchanged whose scores are equal but for rounding, where both
    ranks of the file differ; an exchange is kept if the two differ less with it. So the predictions that are returned
    are those of a right selection, and all of the file's are compared with them.

    Args:
        given: the file's predictions, each ``(B, Q, ...)``.
        expected: those of the model.
        model: the detector in PyTorch.
        inputs: images and their shapes as ``BaseDetector.undecoded`` takes them.
        scores: ``(B, Q)``, by which the queries were selected, best first; None where they are unknown.
    """
    if scores is None or model.head.selecting_in(None) is None:
        return expected
    order = torch.arange(scores.shape[1]).expand(scores.shape).clone()  # (B, Q)
    tried = torch.zeros_like(scores[:, 1:], dtype=torch.bool)  # pairs of ranks that have been exchanged in vain
    differences = _differences(expected, given, inputs[0])
    for _ in range(_MOST_PASSES):
        ranked = scores.gather(1, order)
        seen = differences > _SEEN
        pairs = ((ranked[:, 1:] - ranked[:, :-1]).abs() <= _TIE) & seen[:, 1:] & seen[:, :-1] & ~tried
        pairs = _apart(pairs, differences)
        if not pairs.any():
            break
        other = _exchanged(order, pairs)
        with model.head.selecting_in(other):
            found = model.head.decode(model.undecoded(*inputs), inputs[1])
        now = _differences(found, given, inputs[0])
        better = pairs & (now[:, 1:] + now[:, :-1] < differences[:, 1:] + differences[:, :-1])
        if not better.any():
            tried |= pairs
            continue
        tried = pairs & ~better  # others may be right after these
        if not torch.equal(better, pairs):
            other = _exchanged(order, better)
            with model.head.selecting_in(other):
                found = model.head.decode(model.undecoded(*inputs), inputs[1])
            now = _differences(found, given, inputs[0])
        order, expected, differences = other, found, now
    return expected


def _differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Return ``(B, Q)``: by how much boxes, as a share of the input's longer side, or scores differ, by rank."""
    name = 'rbboxes' if 'rbboxes' in expected else 'bboxes'
    apart = (expected[name][..., :4] - given[name][..., :4]).abs().amax(-1) / max(images.shape[-2:])
    return torch.maximum(apart, (expected['scores'] - given['scores']).abs().amax(-1))


def _apart(pairs: Tensor, differences: Tensor) -> Tensor:
    """Return ``(B, Q - 1)`` bool, the pairs of neighbours that differ most, of which no two share a rank."""
    chosen = torch.zeros_like(pairs)
    for image in range(len(pairs)):
        taken: set[int] = set()
        sums = (differences[image, 1:] + differences[image, :-1]).masked_fill(~pairs[image], 0.0)
        for rank in sums.argsort(descending=True)[: int(pairs[image].sum())].tolist():
            if not taken & {rank, rank + 1}:
                taken |= {rank, rank + 1}
                chosen[image, rank] = True
    return chosen


def _exchanged(order: Tensor, pairs: Tensor) -> Tensor:
    """Return an order ``(B, Q)`` with the pairs of neighbours that are chosen exchanged."""
    images, ranks = pairs.nonzero(as_tuple=True)
    changed = order.clone()
    changed[images, ranks], changed[images, ranks + 1] = order[images, ranks + 1], order[images, ranks]
    return changed
