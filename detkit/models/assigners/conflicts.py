"""What becomes of a prior that several objects claim."""

from __future__ import annotations

import torch
from torch import Tensor


def resolve_conflicts(prior_idx: Tensor, valid: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """Assign every prior to one object: of all objects, a contested prior gets the one of the best quality.

    Args:
        prior_idx: ``(B, M, K)`` int64, the priors that each object claims.
        valid: ``(B, M, K)`` bool, False where the slot is empty.
        quality: ``(B, M, P)``, of each object at each prior.

    Returns:
        the object of each slot, and the slots' validity: of several slots with one prior, only the first stays valid.
    """
    batch, max_instances, _ = prior_idx.shape
    num_priors = quality.shape[-1]
    box_idx = torch.arange(max_instances, device=prior_idx.device).view(1, -1, 1).expand_as(prior_idx)
    if max_instances == 0:
        return box_idx, valid
    # (B, M, K) -> (B, M * K), empty slots sent to an extra prior behind the last
    flat_prior = torch.where(valid, prior_idx, num_priors).flatten(1)
    slots = torch.arange(flat_prior.shape[1], device=prior_idx.device).expand_as(flat_prior)
    first = slots.new_full((batch, num_priors + 1), flat_prior.shape[1])
    first.scatter_reduce_(1, flat_prior, slots, 'amin')
    times_taken = slots.new_zeros((batch, num_priors + 1)).scatter_add_(1, flat_prior, torch.ones_like(slots))
    contested = times_taken.gather(1, flat_prior).view_as(prior_idx) > 1
    kept = (first.gather(1, flat_prior) == slots).view_as(valid)
    # (B, M, P) -> (B, M * K): the winner at every slot's prior
    winners = quality.max(dim=1).indices.gather(1, prior_idx.flatten(1)).view_as(prior_idx)
    return torch.where(contested, winners, box_idx), valid & kept
