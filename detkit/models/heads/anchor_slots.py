"""``AnchorSlots``: the predictions of a level that learn boxes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from detkit.structures.targets import AssignResult

from .base_head import widened


class AnchorSlots(NamedTuple):
    """The S slots of a level's assignment in one sequence.

    Attributes:
        flat_prior_idx: ``(S,)`` int64, index of each slot's prior in the flattened ``(B, P)``.
        prior_idx: ``(S,)`` int64, index of the prior within its image.
        flat_gt_idx: ``(S,)`` int64, index of its box in the flattened ``(B, M)``.
        order: ``(S,)`` int64, rank by slot number, then by box; unique among the slots of a prior.
        valid: ``(S,)`` bool, False where the slot is empty.
    """

    flat_prior_idx: Tensor
    prior_idx: Tensor
    flat_gt_idx: Tensor
    order: Tensor
    valid: Tensor

    @classmethod
    def of(cls, assigned: AssignResult, num_priors: int) -> AnchorSlots:
        """Return all slots of B images with ``num_priors`` priors each."""
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
        """Return the slots without the empty ones on a CPU; unchanged on a GPU, where counting would synchronise."""
        if self.valid.device.type != 'cpu':
            return self
        filled = self.valid.nonzero().squeeze(1)
        return AnchorSlots(*(field.index_select(0, filled) for field in self))

    def last_of_prior(self, num_rows: int) -> Tensor:
        """Return ``(S,)`` bool: whether a slot is the last of its prior's, which determines the prior's objectness."""
        order = self.order.where(self.valid, torch.full_like(self.order, -1))
        last = order.new_full((num_rows,), -1).scatter_reduce_(0, self.flat_prior_idx, order, 'amax')
        return (last.index_select(0, self.flat_prior_idx) == order) & self.valid

    def look_up(self, rows: Tensor, column: int) -> tuple[Tensor, Tensor]:
        """Return the slots' rows ``(S, channels)`` of ``(B * P, channels)`` and a column of all, at least float32."""
        chosen, whole_column = _LookUp.apply(rows, self.flat_prior_idx, column)
        return widened(chosen), widened(whole_column)


class _LookUp(torch.autograd.Function):
    """``rows[flat_prior_idx]`` and ``rows[:, column]``, whose gradients share one buffer of the size of ``rows``.

    Autograd would fill a buffer for each of the two and add them up, although they are nearly all zeros.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, flat_prior_idx: Tensor, column: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(flat_prior_idx)
        ctx.column, ctx.shape = column, rows.shape
        return rows.index_select(0, flat_prior_idx), rows[:, column].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_chosen: Tensor, grad_column: Tensor) -> tuple[Tensor, None, None]:
        (flat_prior_idx,) = ctx.saved_tensors
        grad = grad_column.new_zeros(ctx.shape)
        grad[:, ctx.column] = grad_column
        return grad.index_add_(0, flat_prior_idx, grad_chosen), None, None
