"""The rows of queries that two runs of a network selected, brought into one order."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# The names that decoded boxes may have.
_BBOXES = ('bboxes', 'rbboxes')


def aligned_queries(
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    size: tuple[int, int],
    score_thr: float = 0.0,
    replaceable: Tensor | None = None,
    tolerance: float = 0.0,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the queries by which anything is found, of two runs in the same order.

    Cells of nearly equal scores are selected in another order, of the last ones also others, so that rows of the same
    number are other queries; of how many depends on the precision. Each query is compared with the one that its boxes
    and scores are nearest to, one to one.

    Args:
        expected, given: decoded predictions, each ``(B, Q, ...)``.
        size: (h, w) of the input.
        score_thr: a query counts if it has this score in either; of an image without any the likeliest one.
        replaceable: ``(B, Q)`` bool, queries of ``expected`` in place of which ``given`` may have others. They do not
            count where their scores, or boxes as a share of the input's longer side, differ by more than ``tolerance``.
        tolerance: see above.

    Returns:
        Both with the N queries of all images in one row, each ``(1, N, ...)``.
    """
    from scipy.optimize import linear_sum_assignment

    name = next(name for name in _BBOXES if name in expected)
    chosen: tuple[list, list] = ([], [])
    for image in range(len(expected['scores'])):
        features = [
            torch.cat((own[name][image, :, :4] / max(size), own['scores'][image]), dim=-1).nan_to_num(1e3)
            for own in (expected, given)
        ]
        costs = torch.cdist(features[0].float(), features[1].float(), p=float('inf'))
        rows, columns = (torch.as_tensor(index) for index in linear_sum_assignment(costs.numpy()))
        best = torch.maximum(expected['scores'][image, rows].amax(-1), given['scores'][image, columns].amax(-1))
        found = ~(best < min(score_thr, float(best.max())))  # so that NaN counts
        if replaceable is not None:
            found &= ~(replaceable[image, rows] & (costs[rows, columns] > tolerance))
        for index, (own, picked) in enumerate(((expected, rows[found]), (given, columns[found]))):
            chosen[index].append({key: value[image, picked] for key, value in own.items()})
    first, second = ({key: torch.cat([one[key] for one in own])[None] for key in own[0]} for own in chosen)
    return first, second


def at_the_border(scores: Tensor | None, tolerance: float) -> Tensor | None:
    """Return which queries were selected by a score that is the lowest selected one but for the tolerance.

    Args:
        scores: ``(B, Q)`` that the queries were selected by; None where they are unknown, or none was left out.
        tolerance: greatest difference of scores.
    """
    return None if scores is None else scores <= scores.amin(1, keepdim=True) + tolerance
