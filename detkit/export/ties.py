"""Ties at the border of a selection: of two predictions whose scores differ by rounding alone, either may be chosen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def level_border(scores: Tensor, count: int) -> Tensor | None:
    """Return the lowest of the ``count`` best scores of each image, ``(B, 1)``; None where no more are there.

    Args:
        scores: ``(B, P, C)`` of a level.
        count: the pairs of a prior and a class that the level keeps.
    """
    flat = scores.flatten(1)
    return None if flat.shape[1] <= count else flat.topk(count, 1).values[:, -1:]


def with_same_choice(
    expected: Tensor, given: Tensor, levels: Sequence[Tensor], count: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return the scores of two runs as if they had kept the same pairs of a prior and a class.

    Both have 0 in place of all but the ``count`` best pairs of a level. A pair that one of them keeps and the other
    does not is no difference if its score is the lowest kept one of its level in the other, within the tolerance.

    Args:
        expected: ``(B, P, C)`` of PyTorch.
        given: ``(B, P, C)`` of the file. A level of an image in which it does not keep ``count`` pairs, and others
            that equal the lowest of them, remains as it is.
        levels: PyTorch's scores ``(B, P_i, C)`` of each level before the selection.
        count: see above.
        tolerance: greatest difference of scores.

    Returns:
        ``expected`` with the score in place of 0 where the file alone keeps a pair that PyTorch may have kept, too; and
        ``given`` with the greatest score that the file may have left out, where PyTorch alone keeps a pair.
    """
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    sizes = [scores.shape[1] for scores in levels]
    for own, other, scores in zip(expected.split(sizes, 1), given.split(sizes, 1), levels, strict=True):
        border = level_border(scores, count)
        if border is not None:
            flat_own, flat_other, flat = own.flatten(1), other.flatten(1), scores.flatten(1)
            kept = flat_other > 0
            lowest = torch.where(kept, flat_other, torch.inf).amin(1, keepdim=True)  # (B, 1)
            selects = (kept.sum(1, keepdim=True) >= count) & ((flat_other > lowest).sum(1, keepdim=True) < count)
            added = selects & kept & (flat < border) & (flat >= border - tolerance)
            left_out = selects & (flat_other == 0) & (flat >= border)
            own = torch.where(added, flat, flat_own).view_as(own)
            other = torch.where(left_out, flat.minimum(lowest), flat_other).view_as(other)
        parts[0].append(own)
        parts[1].append(other)
    return torch.cat(parts[0], 1), torch.cat(parts[1], 1)


def possible_and_certain(
    expected: Tensor, levels: Sequence[Tensor], count: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return the scores of all pairs that may be kept, and of those that must be, 0 in place of others.

    Args:
        expected, levels, count, tolerance: see ``with_same_choice``.
    """
    possible, certain = [], []
    for own, scores in zip(expected.split([scores.shape[1] for scores in levels], 1), levels, strict=True):
        border = level_border(scores, count)
        if border is None:
            possible.append(own)
            certain.append(own)
            continue
        nothing, border = torch.zeros_like(scores), border.unsqueeze(-1)
        possible.append(scores.where(scores >= border - tolerance, nothing))
        certain.append(scores.where(scores > border + tolerance, nothing))
    return torch.cat(possible, 1), torch.cat(certain, 1)
