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
# Runs of ranks whose cells are sought one by one are no longer: the passes grow with the square.
_LONGEST_RUN = 12


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
    are those of a right selection, and all of the file's are compared with them. In runs of such ranks that are still
    out of place, as in a cycle of three, each rank then gets the cell of the run with which it differs least.

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

    def results(order: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with model.head.selecting_in(order):
            found = model.head.decode(model.undecoded(*inputs), inputs[1])
        return found, _differences(found, given, inputs[0])

    tried = torch.zeros_like(scores[:, 1:], dtype=torch.bool)  # pairs of ranks that have been exchanged in vain
    differences = _differences(expected, given, inputs[0])
    for _ in range(_MOST_PASSES):
        pairs = _ties(order, scores) & _both(differences > _SEEN) & ~tried
        pairs = _apart(pairs, differences)
        if not pairs.any():
            break
        other = _exchanged(order, pairs)
        found, now = results(other)
        better = pairs & (now[:, 1:] + now[:, :-1] < differences[:, 1:] + differences[:, :-1])
        if not better.any():
            tried |= pairs
            continue
        tried = pairs & ~better  # others may be right after these
        if not torch.equal(better, pairs):
            other = _exchanged(order, better)
            found, now = results(other)
        order, expected, differences = other, found, now
    runs = _runs(_ties(order, scores) & _both(differences > _SEEN))
    # More than two of a run may be out of place at once, as in a cycle, where no exchange of two brings both nearer:
    # the ranks of a run get their cells one after the other.
    for first in range(max((stop - start for _, start, stop in runs), default=1) - 1):
        best, best_of = order, differences
        for second in range(first + 1, _LONGEST_RUN):
            open_runs = [run for run in runs if second < run[2] - run[1]]
            other = order.clone()
            for image, start, _ in open_runs:
                if differences[image, start + first] > _SEEN:
                    ranks = [start + first, start + second]
                    other[image, ranks] = order[image, ranks[::-1]]
            if torch.equal(other, order):
                break
            found, now = results(other)
            best, best_of = best.clone(), best_of.clone()
            for image, start, stop in open_runs:
                if now[image, start + first] < best_of[image, start + first]:
                    best[image, start:stop] = other[image, start:stop]
                    best_of[image, start:stop] = now[image, start:stop]
        if not torch.equal(best, order):
            order = best
            expected, differences = results(order)
    return expected


def _ties(order: Tensor, scores: Tensor) -> Tensor:
    """Return ``(B, Q - 1)`` bool, whether rounding may exchange the cells of a rank and of the next."""
    return scores.gather(1, order).diff(dim=1).abs() <= _TIE


def _both(ranks: Tensor) -> Tensor:
    """Return ``(B, Q - 1)`` bool, whether a rank and the next are chosen, of ``(B, Q)`` bool."""
    return ranks[:, 1:] & ranks[:, :-1]


def _runs(pairs: Tensor) -> list[tuple[int, int, int]]:
    """Return image, first rank and the rank behind the last of each run of three or more neighbours, none too long."""
    edges = torch.nn.functional.pad(pairs.int(), (1, 1)).diff(dim=1)  # (B, Q): 1 at a run's first rank, -1 at its last
    found = []
    for image, row in enumerate(edges):
        starts, lasts = ((row == edge).nonzero().flatten().tolist() for edge in (1, -1))
        found += [(image, start, last + 1) for start, last in zip(starts, lasts, strict=True) if last - start > 1]
    return [(image, start, min(stop, start + _LONGEST_RUN)) for image, start, stop in found]


def _differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Return ``(B, Q)``: by how much boxes, as a share of the input's longer side, or scores ``(B, Q, ...)`` differ."""
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
