"""``RandomPriorSampler``: some priors with an object, and some without."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import PriorSampler
from detkit.registry import PRIOR_SAMPLERS
from detkit.structures.targets import SampledPriors

from ..layers.keyed_dropout import keyed_uniform
from .max_iou_assigner import BACKGROUND


@PRIOR_SAMPLERS.register_module()
class RandomPriorSampler(PriorSampler):
    """Sampler of a number of priors, up to a share of them with an object (Faster R-CNN, arXiv:1506.01497).

    Within a training step the draws depend on the seed, the iteration and the image's position in the batch alone,
    see ``keyed_dropout``.

    Args:
        num: priors of an image; fewer where there are not as many.
        pos_fraction: the largest share of them that has an object; background takes the rest.
    """

    def __init__(self, num: int = 256, pos_fraction: float = 0.5) -> None:
        if num < 1 or not 0 < pos_fraction <= 1:
            raise ValueError(
                f'RandomPriorSampler: num must be at least 1 and pos_fraction in (0, 1], found {num}, {pos_fraction}'
            )
        self.num = num
        self.pos_fraction = pos_fraction

    @torch.no_grad()
    def __call__(self, gt_idx: Tensor) -> SampledPriors:
        """Return the chosen priors of an assignment ``(B, P)``; those with an object come first."""
        num_priors = gt_idx.shape[1]
        draws = keyed_uniform(gt_idx.shape, torch.empty(0, device=gt_idx.device))
        # Those of a kind with the greatest draws; a draw is at least 0, and what is of another kind has -1.
        most_positive, most = min(int(self.num * self.pos_fraction), num_priors), min(self.num, num_priors)
        draw, positive_idx = draws.masked_fill(gt_idx < 0, -1.0).topk(most_positive, 1)
        positive = draw >= 0
        draw, negative_idx = draws.masked_fill(gt_idx != BACKGROUND, -1.0).topk(most, 1)
        room = self.num - positive.sum(1, keepdim=True)  # (B, 1)
        negative = (draw >= 0) & (torch.arange(most, device=room.device) < room)
        prior_idx = torch.cat([positive_idx, negative_idx], 1)
        valid = torch.cat([positive, negative], 1)
        return SampledPriors(prior_idx, torch.cat([positive, torch.zeros_like(negative)], 1), valid)
