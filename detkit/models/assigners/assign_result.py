"""``AssignResult``: what every assigner returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class AssignResult(NamedTuple):
    """K candidate slots for each of the M boxes of B images; their number depends on shapes alone, never on values.

    Attributes:
        prior_idx: ``(B, M, K)`` int64, the prior in each slot, 0 where the slot is empty.
        valid: ``(B, M, K)`` bool, False where the slot is empty.
        gt_idx: ``(B, M, K)`` int64, the box that the prior learns. A box keeps its own slots except where the family
            hands a contested prior to a third box, which then has more than K.
        scores: ``(B, M, K)`` soft class targets in [0, 1], 0 where empty; None where the family has none.
    """

    prior_idx: Tensor
    valid: Tensor
    gt_idx: Tensor
    scores: Tensor | None = None
