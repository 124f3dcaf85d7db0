"""``RLELoss``: the negative log-likelihood of keypoints, with a learnt distribution of their errors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detkit.protocols import KeypointLikelihoodLoss
from detkit.registry import LOSSES
from detkit.structures.keypoints import default_keypoint_weights
from detkit.structures.targets import KeypointTargets
from detkit.utils.ranks import shared_divisor

from ..layers.flow import RealNVP
from .base_loss import BaseLoss

_EPS = 1e-9
_LARGEST_ERROR = 100.0  # in deviations


@LOSSES.register_module()
class RLELoss(BaseLoss, KeypointLikelihoodLoss):
    """Residual log-likelihood estimation of labelled keypoints (arXiv:2107.11291).

    The error e of a coordinate is its difference from the target over its predicted deviation s. The density of errors
    is a Laplace distribution times one that ``RealNVP`` learns, so that a keypoint's loss is the sum over x and y of
    log s + log 2 s + |e|, minus twice the flow's log-density of (e_x, e_y), times the keypoint's weight. The result is
    the mean over labelled keypoints. As in ultralytics 8.4.190, e is limited to 100 either way, and the result is at
    least 0: neither farther errors nor keypoints that are likelier than that are learnt from.

    Args:
        num_keypoints: K; wired from the head.
        keypoint_weights: K factors; by default the published ones for COCO's 17 keypoints, which weigh the ends of
            limbs more, and 1 for any other number.
        num_couplings, hidden_channels: see ``RealNVP``.
        loss_weight: factor of the result.
    """

    def __init__(
        self,
        num_keypoints: int = 17,
        keypoint_weights: Sequence[float] | None = None,
        num_couplings: int = 6,
        hidden_channels: int = 64,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        weights = default_keypoint_weights(num_keypoints) if keypoint_weights is None else keypoint_weights
        if len(weights) != num_keypoints or min(weights) < 0:
            raise ValueError(f'RLELoss needs {num_keypoints} weights, at least 0 each, found {weights}')
        self.register_buffer('keypoint_weights', torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.flow = RealNVP(num_couplings, hidden_channels)

    def forward(
        self,
        pred: Tensor,
        target: KeypointTargets,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``KeypointLikelihoodLoss``."""
        keypoints, visible, _ = target
        labelled = visible if weight is None else visible & (weight > 0).unsqueeze(-1)
        avg_factor = shared_divisor(labelled.sum(), pred) if avg_factor is None else avg_factor
        weights = self.keypoint_weights.to(pred.dtype) * labelled
        differences = pred[..., :2] - keypoints
        if pred.device.type == 'cpu':  # where a selection is cheap; a GPU would have to synchronise
            differences, logits, weights = differences[labelled], pred[..., 2:][labelled], weights[labelled]
        else:
            logits = pred[..., 2:]
            differences = torch.where(labelled.unsqueeze(-1), differences, torch.zeros_like(differences))
        deviations = logits.sigmoid().clamp(min=torch.finfo(logits.dtype).tiny)  # which has a logarithm
        errors = (differences / (deviations + _EPS)).clamp(-_LARGEST_ERROR, _LARGEST_ERROR)
        losses = (deviations.log() + (2 * deviations).log() + errors.abs()).sum(-1) - 2 * self.flow.log_prob(errors)
        return self.reduce(losses, weights, avg_factor).clamp(min=0)
