"""The check of a model's parts against ``detkit.protocols``: by the protocols that they name, and losses by a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from detkit import protocols
from detkit.protocols import OverlapLoss
from detkit.registry import MODEL_PARTS
from detkit.structures.targets import BoxMasks, KeypointTargets, PrototypeMasks, QualityTargets, SparseTargets
from detkit.utils.errors import ConfigError, nearest_first


def misfit(owner: Callable, key: str, part: Any) -> str | None:
    """Return why ``part`` cannot be the argument ``key`` of ``owner``; None where it can, or where nothing is stated.

    Args:
        owner: a component's class, whose ``takes`` says which protocol each of its parts must follow.
        key: the argument that holds the part.
        part: the class of the part.
    """
    wanted = getattr(owner, 'takes', {}).get(key)
    if wanted is None or not isinstance(part, type) or wanted in protocols_of(part):
        return None
    followed = protocols_of(part)
    leaves = sorted(kind.__name__ for kind in followed if not any(kind in other.__mro__[1:] for other in followed))
    stated = f'{part.__name__} follows {" and ".join(leaves)}' if leaves else f'{part.__name__} states no protocol'
    fitting = [name for name in MODEL_PARTS.names() if wanted in protocols_of(MODEL_PARTS.get(name))]
    remedy = f'. If its calls have that signature, write class {part.__name__}(..., {wanted.__name__})'
    return (
        f'{owner.__name__}.{key} must follow {wanted.__name__} (detkit.protocols), but {stated}; registered parts '
        f'that do are {nearest_first(part.__name__, fitting)}{"" if leaves else remedy}'
    )


def protocols_of(part: Any) -> frozenset[type]:
    """Return the protocols of ``detkit.protocols`` that a class follows, those that they extend included.

    A class that names protocols as parents follows these in place of those of its other parents.
    """
    for cls in getattr(part, '__mro__', ()):
        named = [base for base in cls.__bases__ if _is_protocol(base)]
        if named and not _is_protocol(cls):
            return frozenset(base for protocol in named for base in protocol.__mro__ if _is_protocol(base))
    return frozenset()


def check_attributes(part: Any, kind: type) -> None:
    """Check that a part has what its protocol states beside methods.

    Args:
        part: the part, built.
        kind: the protocol that it follows.

    Raises:
        ConfigError: an attribute is missing.
    """
    declared = [name for base in kind.__mro__ if _is_protocol(base) for name in vars(base).get('__annotations__', ())]
    missing = next((name for name in declared if not hasattr(part, name)), None)
    if missing is not None:
        raise ConfigError(
            f'{type(part).__name__} has no attribute {missing}, which every {kind.__name__} has (detkit.protocols); '
            'set it in __init__'
        )


def check_loss(loss: Callable, kind: type, size: int) -> None:
    """Call a loss on two small samples of its kind, so that what the first training step would show is known before.

    Args:
        loss: the loss, which follows ``kind``.
        kind: a protocol of losses; for one that is not of ``detkit.protocols`` there are no samples, and nothing is
            tried. On the device 'meta' nothing is tried either, as nothing is computed there.
        size: number of classes, bins, keypoints, pixels or prototypes, whichever the kind has.

    Raises:
        ConfigError: the call fails, or returns anything but a scalar tensor.
    """
    sample = next((_SAMPLES[base] for base in kind.__mro__ if base in _SAMPLES), None)
    if sample is None or torch.empty(0).device.type == 'meta':
        return
    pred, target, weight = sample(size)
    for tensor in [pred] if isinstance(pred, Tensor) else pred:
        tensor.requires_grad_()
    title = f'{type(loss).__name__}, called as {kind.__name__} (detkit.protocols) states,'
    try:
        values = [loss(pred, target, weight=weight, avg_factor=2.0)]
        if OverlapLoss in kind.__mro__:
            values.append(loss.from_overlaps(loss.overlaps(pred, target), weight, 2.0))
    except Exception as error:
        names = ', '.join(getattr(target, '_fields', ()))
        hint = names and f'. Its target is not dense, but {type(target).__name__}({names}) of detkit.structures.targets'
        raise ConfigError(f'{title} fails: {type(error).__name__}: {error}{hint}') from error
    for value in values:
        if not isinstance(value, Tensor):
            raise ConfigError(f'{title} returns a {type(value).__name__} instead of a scalar tensor')
        if value.ndim:
            raise ConfigError(
                f'{title} returns a tensor of shape {tuple(value.shape)} instead of a scalar; it must return the sum '
                'of the weighted losses divided by avg_factor, times loss_weight'
            )
        if torch.is_grad_enabled() and not value.requires_grad:
            raise ConfigError(
                f'{title} returns a tensor without a gradient, so that nothing would learn from it; drop detach(), '
                'item() and torch.no_grad() between pred and the result'
            )


def _binary(size: int) -> tuple:
    return torch.zeros(2, size), SparseTargets(torch.tensor([0]), torch.ones(1)), torch.ones(2, 1)


def _qualities(size: int) -> tuple:
    target = QualityTargets(torch.tensor([0, 1]), torch.full((2,), 0.5), torch.tensor([True, False]))
    return torch.zeros(2, size), target, torch.ones(2, 1)


def _classes(size: int) -> tuple:
    return torch.zeros(2, size), torch.zeros(2, dtype=torch.int64), torch.ones(2)


def _boxes(size: int) -> tuple:
    bboxes = torch.tensor([[0.0, 0.0, 2.0, 4.0], [1.0, 1.0, 4.0, 3.0]])
    return bboxes, bboxes + 0.5, torch.ones(2)


def _rotated_boxes(size: int) -> tuple:
    rbboxes = torch.tensor([[2.0, 2.0, 4.0, 2.0, 0.5], [2.0, 3.0, 3.0, 1.0, 0.0]])
    return rbboxes, rbboxes + 0.5, torch.ones(2)


def _angles(size: int) -> tuple:
    return torch.zeros(2), _rotated_boxes(size)[0], torch.ones(2)


def _distributions(size: int) -> tuple:
    return torch.zeros(2, 4, size), torch.zeros(2, 4), torch.ones(2)


def _teachers(size: int) -> tuple:
    return torch.zeros(2, 4, size), torch.ones(2, 4, size), torch.ones(2)


def _prototype_masks(size: int) -> tuple:
    bboxes, _, weight = _boxes(size)
    target = BoxMasks(bboxes[None], torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 2, dtype=torch.int64))
    return PrototypeMasks(torch.zeros(1, 2, size), torch.zeros(1, size, 4, 4)), target, weight[None]


def _pixel_masks(size: int) -> tuple:
    return torch.zeros(2, size), torch.ones(2, size), torch.ones(2)


def _keypoints(size: int) -> tuple:
    visible = torch.ones(2, size, dtype=torch.bool)
    return torch.zeros(2, size, 2), KeypointTargets(torch.ones(2, size, 2), visible, torch.ones(2)), torch.ones(2)


def _keypoint_deviations(size: int) -> tuple:
    return torch.zeros(2, size, 4), *_keypoints(size)[1:]


def _keypoint_classes(size: int) -> tuple:
    return torch.zeros(2, size), torch.ones(2, size, dtype=torch.bool), torch.ones(2)


# A prediction, a target and a weight of each kind of loss, of the shapes that its protocol states.
_SAMPLES: dict[type, Callable[[int], tuple]] = {
    protocols.BinaryClassLoss: _binary,
    protocols.QualityClassLoss: _qualities,
    protocols.ClassLoss: _classes,
    protocols.BoxLoss: _boxes,
    protocols.CoordinateLoss: _boxes,
    protocols.RotatedBoxLoss: _rotated_boxes,
    protocols.AngleLoss: _angles,
    protocols.DistributionLoss: _distributions,
    protocols.DistributionTeacherLoss: _teachers,
    protocols.PrototypeMaskLoss: _prototype_masks,
    protocols.PixelMaskLoss: _pixel_masks,
    protocols.KeypointPositionLoss: _keypoints,
    protocols.KeypointLikelihoodLoss: _keypoint_deviations,
    protocols.KeypointClassLoss: _keypoint_classes,
}


def _is_protocol(cls: type) -> bool:
    return cls.__module__.startswith(f'{protocols.__name__}.') and Protocol in cls.__bases__
