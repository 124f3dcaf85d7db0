"""The tuples that heads, assigners and losses exchange: candidates, assignments, targets.

B images of at most M objects, P priors, C classes, S slots, K candidates an object.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Candidates(NamedTuple):
    """Predictions that an assigner uses; None where the kind of assigner needs none.

    Attributes:
        cls_logits: ``(..., B, P, C)``.
        bboxes: ``(..., B, P, 4)``, or 5 for rotated boxes.
        costs: ``(..., B, P, M)``, what a head adds to the costs of pairs, such as that of masks.
        masks: the coefficients of all P priors, and the prototypes.
        keypoints: ``(B, P, K, 2)`` xy in pixels.
        obj_logits: ``(..., B, P)``, whether a prior has an object at all; its probability multiplies those of classes.
    """

    cls_logits: Tensor | None = None
    bboxes: Tensor | None = None
    costs: Tensor | None = None
    masks: PrototypeMasks | None = None
    keypoints: Tensor | None = None
    obj_logits: Tensor | None = None


class AssignResult(NamedTuple):
    """K candidate slots for each of the M boxes of B images; K depends on shapes alone, never on values.

    Attributes:
        prior_idx: ``(..., B, M, K)`` int64, the prior in each slot, 0 where the slot is empty.
        valid: ``(..., B, M, K)`` bool, False where the slot is empty.
        gt_idx: ``(..., B, M, K)`` int64, the box that the prior learns. It is the slot's own box, except where the
            family gives a prior that several boxes claim to another box.
        scores: ``(..., B, M, K)`` soft class targets in [0, 1], 0 where empty; None where the family has none.
    """

    prior_idx: Tensor
    valid: Tensor
    gt_idx: Tensor
    scores: Tensor | None = None


class SampledPriors(NamedTuple):
    """S of the priors of each image; S depends on shapes alone, never on values.

    Attributes:
        prior_idx: ``(B, S)`` int64.
        positive: ``(B, S)`` bool, whether the prior has an object.
        valid: ``(B, S)`` bool, False where the slot is empty.
    """

    prior_idx: Tensor
    positive: Tensor
    valid: Tensor


class SparseTargets(NamedTuple):
    """The few targets of many logits that are not 0.

    Attributes:
        flat_index: ``(S,)`` int64, their positions in the flattened logits. Targets at a position that recurs are added
            up, so slots that hold nothing may point anywhere with target 0.
        values: ``(S,)`` in [0, 1].
    """

    flat_index: Tensor
    values: Tensor


class QualityTargets(NamedTuple):
    """The few logits, among many of background, that learn how well a box fits.

    Attributes:
        flat_index: ``(S,)`` int64, their positions in the flattened logits, each at most once among the valid ones.
        quality: ``(S,)`` in [0, 1], such as the IoU of the box with the object; 0 is a poor match, not background.
        valid: ``(S,)`` bool, or 1 and 0: whether the slot holds anything.
    """

    flat_index: Tensor
    quality: Tensor
    valid: Tensor


class PrototypeMasks(NamedTuple):
    """Masks that are linear combinations of prototypes.

    Attributes:
        coeffs: ``(B, S, D)``.
        protos: ``(B, D, h, w)``.
    """

    coeffs: Tensor
    protos: Tensor


class BoxMasks(NamedTuple):
    """Ground-truth masks of slots.

    Attributes:
        bboxes: ``(B, S, 4)``, the slots' boxes, xyxy in mask pixels.
        masks: the overlap index map ``(B, h, w)``, or ``(B, M, h, w)`` bool.
        gt_idx: ``(B, S)`` int64, the object of each slot.
    """

    bboxes: Tensor
    masks: Tensor
    gt_idx: Tensor


class KeypointTargets(NamedTuple):
    """Ground-truth keypoints of slots.

    Attributes:
        keypoints: ``(..., K, 2)`` xy.
        visible: ``(..., K)`` bool, whether a keypoint is labelled.
        areas: ``(...)``, of the objects, in the keypoints' unit squared.
    """

    keypoints: Tensor
    visible: Tensor
    areas: Tensor
