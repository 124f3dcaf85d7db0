"""``AnchorSlots``: which predictions of a level learn which boxes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from detkit.protocols import AssignResult

from .base_head import widened


class AnchorSlots(NamedTuple):
    """The S slots of a level's assignment, in a row.

    Attributes:
        places: ``(S,)`` int64, each slot's prior in the flattened ``(B, P)``.
        prior_idx: ``(S,)`` int64, the prior in its image.
        gt_places: ``(S,)`` int64, its box in the flattened ``(B, M)``.
        order: ``(S,)`` int64, by slot number, then by box; unique among the slots of a prior.
        valid: ``(S,)`` bool, False where the slot is empty.
    """

    places: Tensor
    prior_idx: Tensor
    gt_places: Tensor
    order: Tensor
    valid: Tensor

    @classmethod
    def of(cls, assigned: AssignResult, num_priors: int) -> AnchorSlots:
        """All slots of B images of ``num_priors`` priors."""
        batch_size, max_instances, num_slots = assigned.valid.shape
        device = assigned.valid.device
        image = torch.arange(batch_size, device=device).view(-1, 1, 1)
        box = torch.arange(max_instances, device=device).view(-1, 1)
        order = (torch.arange(num_slots, device=device) * max_instances + box).expand_as(assigned.valid)
        slots = cls(
            image * num_priors + assigned.prior_idx,
            assigned.prior_idx,
            image * max_instances + assigned.gt_idx,
            order,
            assigned.valid,
        )
        return cls(*(field.flatten() for field in slots))

    def filled(self) -> AnchorSlots:
        """Without the empty slots on a CPU; as it is on a GPU, which would have to wait for them to be counted."""
        if self.valid.device.type != 'cpu':
            return self
        filled = self.valid.nonzero().squeeze(1)
        return AnchorSlots(*(field.index_select(0, filled) for field in self))

    def last_of_prior(self, num_places: int) -> Tensor:
        """``(S,)`` bool: whether a slot decides its prior's objectness, being the last of those that name the prior."""
        order = self.order.where(self.valid, torch.full_like(self.order, -1))
        last = order.new_full((num_places,), -1).scatter_reduce_(0, self.places, order, 'amax')
        return (last.index_select(0, self.places) == order) & self.valid

    def look_up(self, rows: Tensor, column: int) -> tuple[Tensor, Tensor]:
        """The slots' rows ``(S, channels)`` of ``(B * P, channels)``, and a column of all rows, in float32 or finer."""
        chosen, whole_column = _LookUp.apply(rows, self.places, column)
        return widened(chosen), widened(whole_column)


class _LookUp(torch.autograd.Function):
    """``rows[places]`` and ``rows[:, column]``, whose gradients meet in one buffer of the size of ``rows``.

    Left to autograd, each of the two would fill such a buffer, and a third pass would add them up: nearly all zeros.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, column: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(places)
        ctx.column, ctx.shape = column, rows.shape
        return rows.index_select(0, places), rows[:, column].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_chosen: Tensor, grad_column: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        grad = grad_column.new_zeros(ctx.shape)
        grad[:, ctx.column] = grad_column
        return grad.index_add_(0, places, grad_chosen), None, None
