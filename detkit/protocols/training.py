"""The contracts of the parts of training: what chooses the targets of predictions, and what is learned from them.

B images of at most M objects, P priors, C classes, S slots, K keypoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

    from detkit.structures.gt_batch import GtBatch
    from detkit.structures.targets import AssignResult, Candidates, SampledPriors

# ---- Assigners


class Assigner(Protocol):
    """Chooses the priors that learn each box, without gradients."""

    def __call__(self, preds: Candidates, priors: Any, gt: GtBatch) -> AssignResult:
        """Return the slots of every box of the batch, which may hold no box at all."""
        ...


class PointAssigner(Assigner, Protocol):
    """Assigns points, ``PointPriors``; the result has scores.

    Candidates have C logits, boxes xyxy in pixels, and logits of objectness where the head predicts it.
    """


class MaskPointAssigner(Assigner, Protocol):
    """Assigns points to ``gt.bboxes`` in the way of ``PointAssigner``, also by the masks of both."""


class KeypointPointAssigner(Assigner, Protocol):
    """Assigns points to ``gt.bboxes`` in the way of ``PointAssigner``, also by the keypoints of both."""


class RotatedPointAssigner(Assigner, Protocol):
    """Assigns points to ``gt.rbboxes`` in the way of ``PointAssigner``, with rotated candidates ``(B, P, 5)``."""


class AnchorAssigner(Assigner, Protocol):
    """Assigns the anchors of one level, ``AnchorPriors``, by their shapes; it needs no candidates."""

    min_quality: float

    def shape_quality(self, sizes_wh: Tensor, shapes_wh: Tensor) -> Tensor:
        """Return how well anchors ``(A, 2)`` fit boxes ``(…, 1, 2)``, in [0, 1]: ``(…, A)``."""
        ...


class BoxAssigner(Assigner, Protocol):
    """Chooses the object of every prior, which is a box; it needs no candidates."""

    def __call__(self, preds: Candidates, priors: Tensor, gt: GtBatch) -> Tensor:
        """Return ``(B, P)`` int64: the object's index, -1 for background, -2 for a prior that learns nothing.

        Args:
            preds: unused.
            priors: ``(P, 4)`` xyxy in pixels, or ``(B, P, 4)`` where every image has its own.
            gt: ground truth of M boxes for each image; M may be 0.
        """
        ...


class LevelPointAssigner(Assigner, Protocol):
    """Chooses the object of every point, ``PointPriors``, by the level that it belongs to; it needs no candidates."""

    def __call__(self, preds: Candidates, priors: Any, gt: GtBatch) -> Tensor:
        """Return ``(B, P)`` int64: the object's index, or -1 for background."""
        ...


class PriorSampler(Protocol):
    """Chooses some of the priors, whose losses stand for those of all."""

    def __call__(self, gt_idx: Tensor) -> SampledPriors:
        """Return the chosen priors of the result ``(B, P)`` of a ``BoxAssigner``."""
        ...


class QueryAssigner(Assigner, Protocol):
    """Matches queries: logits and boxes cxcywh relative to the image, of any leading axes; no priors.

    The logits are of C classes, or with one more at the end for 'no object'.
    """


class RotatedQueryAssigner(Assigner, Protocol):
    """Matches queries to ``gt.rbboxes`` in the way of ``QueryAssigner``, with rotated boxes relative to the image."""


class MatchCost(Protocol):
    """Cost of giving an object to a query.

    Attributes:
        weight: its factor.
        box_dims: the numbers of a box, 4 for upright and 5 for rotated boxes, that it takes.
    """

    weight: float
    box_dims: tuple[int, ...] = (4,)

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Return ``(..., B, Q, M)``; see ``detkit.models.assigners.match_costs``."""
        ...


# ---- Losses


class Loss(Protocol):
    """A term of the training loss; ``loss_weight`` is its factor."""

    loss_weight: float

    def __call__(
        self, pred: Any, target: Any, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return a scalar: the sum of the weighted losses divided by ``avg_factor``, times ``loss_weight``.

        Args:
            pred: the kind's prediction.
            target: the kind's target.
            weight: factor of each loss, 0 where a slot is empty; None counts all alike.
            avg_factor: the divisor; None takes the sum of the weights, see ``detkit.utils.ranks.shared_divisor``.
        """
        ...


class BinaryClassLoss(Loss, Protocol):
    """Logits of any shape, each a yes-or-no question, against ``SparseTargets``; the weight is broadcast."""


class QualityClassLoss(Loss, Protocol):
    """Logits of any shape, each a yes-or-no question, against ``QualityTargets``; the weight is broadcast."""


class ClassLoss(Loss, Protocol):
    """Logits ``(N, C)``, of which one is right, against labels ``(N,)`` int64; weight ``(N,)``."""


class BoxLoss(Loss, Protocol):
    """Boxes ``(..., 4)`` xyxy against boxes; weight ``(...)``."""


class OverlapLoss(BoxLoss, Protocol):
    """A ``BoxLoss`` of overlaps, which the head also uses by themselves."""

    def overlaps(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the overlap of each box with its target, at most 1: ``(...)``."""
        ...

    def from_overlaps(
        self, overlaps: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss of boxes whose overlaps are known."""
        ...


class CoordinateLoss(Loss, Protocol):
    """Boxes ``(..., 4)`` in any one form against boxes; weight ``(...)``."""


class RotatedBoxLoss(Loss, Protocol):
    """Rotated boxes ``(..., 5)`` against rotated boxes; weight ``(...)``."""


class AngleLoss(Loss, Protocol):
    """Angles ``(...)`` in radians against rotated boxes ``(..., 5)`` of positive sides; weight ``(...)``."""


class DistributionLoss(Loss, Protocol):
    """Logits ``(S, 4, bins)`` of distances against distances ``(S, 4)`` in [0, bins - 1); weight ``(S,)``."""


class DistributionTeacherLoss(Loss, Protocol):
    """Logits ``(S, 4, bins)`` of distances against a teacher's logits of that shape; weight ``(S,)``."""


class PrototypeMaskLoss(Loss, Protocol):
    """``PrototypeMasks`` against ``BoxMasks``; weight ``(B, S)``."""


class PixelMaskLoss(Loss, Protocol):
    """Logits ``(N, P)`` of the P pixels of N masks against numbers in [0, 1]; weight ``(N,)``."""


class KeypointPositionLoss(Loss, Protocol):
    """Keypoints ``(..., K, 2)`` against ``KeypointTargets``; weight ``(...)``."""


class KeypointLikelihoodLoss(Loss, Protocol):
    """Keypoints with logits of their deviations ``(..., K, 4)`` against ``KeypointTargets``; weight ``(...)``."""


class KeypointClassLoss(Loss, Protocol):
    """Logits ``(..., K)`` against bool, whether a keypoint is labelled; weight ``(...)``."""


# ---- Training


class LogBackend(Protocol):
    """A program of ``log_to`` that metrics and pictures are sent to.

    It is constructed with ``save_dir``, the run's folder, where it takes that, and its own arguments.
    """

    def add_config(self, config: Config) -> None:
        """Begin, before the first value, with the run's config."""
        ...

    def add_scalars(self, scalar_dict: Mapping[str, float], step: int) -> None:
        """Send the values of ``step``, the number of iterations done."""
        ...

    def add_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Send a picture ``(H, W, 3)`` uint8 RGB."""
        ...

    def close(self) -> None:
        """Write what waits; also called where nothing was begun."""
        ...


class OptimWrapper(Protocol):
    """The optimiser wrapper that a detector's ``train_step`` takes."""

    def optim_context(self, model: torch.nn.Module) -> AbstractContextManager[None]:
        """Return the context of a forward pass."""
        ...

    def update_params(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``, and step where it is time to."""
        ...
