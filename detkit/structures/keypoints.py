"""Meta information on a dataset's keypoints: names, left-right pairs, skeleton, and sigmas (how exact each one is)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detkit.utils.errors import ConfigError

# The 17 keypoints of COCO's persons; sigmas from https://cocodataset.org/#keypoints-eval.
COCO_KEYPOINTS = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder', 'left_elbow',
    'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle',
    'right_ankle',
)  # fmt: skip
COCO_FLIP_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
COCO_SKELETON = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (1, 2),
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
COCO_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip
# Factors of the losses of COCO's keypoints, above 1 for the ends of limbs, as HRNet uses them (arXiv:1908.07919).
COCO_KEYPOINT_WEIGHTS = (1.0,) * 7 + (1.2, 1.2, 1.5, 1.5, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5)

# The keypoint entries of ``metainfo``.
_KEYS = ('keypoint_names', 'flip_pairs', 'skeleton', 'sigmas')
_SIDES = (('left', 'right'), ('Left', 'Right'), ('LEFT', 'RIGHT'))
_SHORT_SIDES = (('l_', 'r_'), ('L_', 'R_'))


def check_shape(shape: Any, source: str) -> tuple[int, int]:
    """Return (K, D): K keypoints of D values each, x and y and, where D is 3, visibility.

    Raises:
        ConfigError: ``shape`` is no such pair; ``source`` says where it was given.
    """
    good = isinstance(shape, Sequence) and len(shape) == 2 and all(type(value) is int for value in shape)
    if not good or shape[0] < 1 or shape[1] not in (2, 3):
        raise ConfigError(
            f'{source} is {shape!r}, but must be (number of keypoints, values of each), where the values are 2 (x, y) '
            'or 3 (x, y, visibility)'
        )
    return int(shape[0]), int(shape[1])


def default_sigmas(num_keypoints: int) -> tuple[float, ...]:
    """Return COCO's sigmas for 17 keypoints, 1 / K each otherwise."""
    return COCO_SIGMAS if num_keypoints == len(COCO_SIGMAS) else (1 / max(num_keypoints, 1),) * num_keypoints


def default_keypoint_weights(num_keypoints: int) -> tuple[float, ...]:
    """Return COCO's factors of losses for 17 keypoints, 1 each otherwise."""
    return COCO_KEYPOINT_WEIGHTS if num_keypoints == len(COCO_KEYPOINT_WEIGHTS) else (1.0,) * num_keypoints


def default_skeleton(num_keypoints: int) -> tuple[tuple[int, int], ...]:
    """Return COCO's skeleton for 17 keypoints, none otherwise."""
    return COCO_SKELETON if num_keypoints == len(COCO_KEYPOINTS) else ()


def pairs_by_name(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the pairs of keypoints whose names differ in left and right alone (``left_eye``, ``right_eye``)."""
    indices = {name: i for i, name in enumerate(names)}
    pairs = []
    for i, name in enumerate(names):
        others = [name.replace(left, right) for left, right in _SIDES if left in name]
        others += [right + name[2:] for left, right in _SHORT_SIDES if name.startswith(left)]
        pairs += [(i, indices[other]) for other in others if other in indices]
    return tuple(pairs)


def flip_indices(flip_pairs: Sequence[Sequence[int]], num_keypoints: int) -> list[int]:
    """Return the index ``(K,)`` of the keypoint that each one becomes in a mirrored object."""
    indices = list(range(num_keypoints))
    for i, j in flip_pairs:
        indices[i], indices[j] = j, i
    return indices


def fill_metainfo(metainfo: Mapping[str, Any], num_keypoints: int, source: str) -> dict[str, Any]:
    """Return ``keypoint_names``, ``flip_pairs``, ``skeleton`` and ``sigmas`` of a dataset, given ones checked.

    Keypoints without names are called by their numbers. Pairs follow from the names; without names they are unknown
    (None), as a wrong guess would teach a model to take left for right.

    Raises:
        ConfigError: what is given does not fit K keypoints; ``source`` names the dataset.
    """
    names, pairs = metainfo.get('keypoint_names'), metainfo.get('flip_pairs')
    if pairs is None and names is not None:
        pairs = pairs_by_name(names)
    if names is None:
        names = tuple(map(str, range(num_keypoints)))
    skeleton, sigmas = metainfo.get('skeleton'), metainfo.get('sigmas')
    filled = {
        'keypoint_names': tuple(map(str, names)),
        'flip_pairs': None if pairs is None else _check_pairs(pairs, num_keypoints, f'flip_pairs of {source}', True),
        'skeleton': _check_pairs(
            default_skeleton(num_keypoints) if skeleton is None else skeleton, num_keypoints, f'skeleton of {source}'
        ),
        'sigmas': tuple(map(float, default_sigmas(num_keypoints) if sigmas is None else sigmas)),
    }
    for key in ('keypoint_names', 'sigmas'):
        if len(filled[key]) != num_keypoints:
            raise ConfigError(
                f'{key} of {source} has {len(filled[key])} entries for {num_keypoints} keypoints'
                '; write one for each keypoint'
            )
    if min(filled['sigmas']) <= 0:
        raise ConfigError(f'sigmas of {source} must be positive, found {filled["sigmas"]}')
    return filled


def keypoint_info(metainfo: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the keypoint entries of a dataset's ``metainfo``; empty where it has none."""
    return {key: metainfo[key] for key in _KEYS if key in metainfo} if metainfo else {}


def _check_pairs(
    pairs: Sequence[Sequence[int]], num_keypoints: int, source: str, disjoint: bool = False
) -> tuple[tuple[int, int], ...]:
    try:
        checked = tuple((int(i), int(j)) for i, j in pairs)
    except (TypeError, ValueError) as error:
        raise ConfigError(f'{source} should be pairs of keypoint numbers, found {pairs!r}') from error
    numbers = [number for pair in checked for number in pair]
    if any(not 0 <= number < num_keypoints for number in numbers):
        raise ConfigError(
            f'{source} names a keypoint outside 0 to {num_keypoints - 1}: {checked}; keypoints are counted from 0'
        )
    if disjoint and len(set(numbers)) != len(numbers):
        raise ConfigError(f'{source} names a keypoint twice: {checked}; write each pair of mirrored keypoints once')
    return checked
