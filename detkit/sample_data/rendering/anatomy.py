"""A person's skeleton: poses, and where its joints are seen from the camera's side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# A body's own axes: x to its left, y down, z to its front, in metres from the middle of the pelvis. The camera's: x to
# the right, y down, z to the viewer. So somebody whose turn is the identity faces the viewer, left side on the right.
SIDES = {'left': 1.0, 'right': -1.0}
NECK, HEAD = np.array([0.0, -0.52, 0.0]), np.array([0.0, -0.695, 0.025])
_SHOULDER, _HIP = np.array([0.172, -0.455, 0.0]), np.array([0.088, 0.03, 0.0])
_LENGTHS = {'upper_arm': 0.28, 'forearm': 0.25, 'thigh': 0.42, 'shin': 0.41}


@dataclass
class Pose:
    """Directions of the limbs in body axes.

    Attributes:
        limbs: degrees (out, forward) by side and limb, such as ``('left', 'thigh')``; (0, 0) hangs down, out 90 points
            sideways, 180 up, forward 90 to the front.
        lean: degrees of the whole body to its left.
        bend: degrees of the whole body forward.
    """

    limbs: dict[tuple[str, str], tuple[float, float]]
    lean: float = 0.0
    bend: float = 0.0


@dataclass
class Skeleton:
    """A posed body before the camera.

    Attributes:
        joints: camera coordinates (3,) by name, such as ``left_knee``, ``neck``, ``head``, ``left_toe``.
        turn: (3, 3) body axes to camera axes.
        head_turn: the same of the head.
    """

    joints: dict[str, np.ndarray]
    turn: np.ndarray
    head_turn: np.ndarray


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Return the (3, 3) rotation about x (0, y towards z), y (1, z towards x) or z (2, x towards y)."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    i, j = ((1, 2), (2, 0), (0, 1))[axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cos
    matrix[j, i], matrix[i, j] = sin, -sin
    return matrix


def _direction(side: str, angles: tuple[float, float]) -> np.ndarray:
    out, forward = np.deg2rad(angles)
    return np.array([SIDES[side] * np.sin(out), np.cos(out) * np.cos(forward), np.cos(out) * np.sin(forward)])


def stand_up(pose: Pose, facing: float, look: tuple[float, float], camera: float) -> Skeleton:
    """Return the joints of ``pose`` before the camera.

    Args:
        pose: what the limbs do.
        facing: degrees from facing the viewer towards the picture's right; 180 shows the back.
        look: degrees of the head to its left and down, relative to the body.
        camera: degrees that the camera looks down.
    """
    turn = rotation(0, -camera) @ rotation(1, facing)
    trunk = turn @ rotation(2, pose.lean) @ rotation(0, -pose.bend)
    head_turn = trunk @ rotation(1, look[0]) @ rotation(0, -look[1])
    joints = {'pelvis': np.zeros(3), 'neck': trunk @ NECK, 'head': trunk @ HEAD, 'crotch': turn @ [0.0, 0.1, 0.0]}
    for side, sign in SIDES.items():
        place = trunk @ (_SHOULDER * (sign, 1, 1))
        joints[f'{side}_shoulder'] = place
        for limb, end in (('upper_arm', 'elbow'), ('forearm', 'wrist')):
            place = place + _LENGTHS[limb] * (trunk @ _direction(side, pose.limbs[side, limb]))
            joints[f'{side}_{end}'] = place
        place = turn @ (_HIP * (sign, 1, 1))
        joints[f'{side}_hip'] = place
        for limb, end in (('thigh', 'knee'), ('shin', 'ankle')):
            place = place + _LENGTHS[limb] * (turn @ _direction(side, pose.limbs[side, limb]))
            joints[f'{side}_{end}'] = place
        joints[f'{side}_heel'] = place + turn @ [0.0, 0.045, -0.035]
        joints[f'{side}_toe'] = place + turn @ [0.045 * sign, 0.055, 0.15]
    return Skeleton(joints, trunk, head_turn)


# poses, each with ``at(mean, spread)`` drawing an angle -------------------------------------------------------------
_Angle = Callable[[float, float], float]
_Limb = tuple[tuple[float, float], tuple[float, float]]  # upper and lower part


def _hanging(at: _Angle) -> _Limb:
    out = at(12, 5)
    return (out, at(0, 10)), (out - at(8, 6), at(14, 10))


def _on_hip(at: _Angle) -> _Limb:
    return (at(46, 5), at(-14, 5)), (at(-42, 6), at(18, 6))


def _waving(at: _Angle) -> _Limb:
    return (at(95, 14), at(8, 6)), (at(168, 16), at(8, 6))


def _raised(at: _Angle) -> _Limb:
    out = at(146, 14)
    return (out, at(5, 5)), (out + at(16, 10), at(5, 5))


def _spread(at: _Angle) -> _Limb:
    out = at(86, 14)
    return (out, at(0, 8)), (out + at(4, 16), at(0, 8))


def _bent(at: _Angle) -> _Limb:
    return (at(16, 5), at(-10, 8)), (at(12, 10), at(84, 16))


def _muscle(at: _Angle) -> _Limb:
    return (at(84, 10), at(0, 5)), (at(196, 10), at(0, 5))


def _straight(at: _Angle) -> _Limb:
    out = at(5, 2.5)
    return (out, at(2, 4)), (out - at(2, 2), at(-3, 3))


def _apart(at: _Angle) -> _Limb:
    out = at(24, 6)
    return (out, at(2, 4)), (out + at(-2, 4), at(-3, 3))


def _lifted(at: _Angle) -> _Limb:
    return (at(10, 5), at(62, 10)), (at(4, 3), at(-16, 10))


def _aside(at: _Angle) -> _Limb:
    return (at(46, 8), at(14, 6)), (at(-30, 10), at(-6, 6))


_ARMS = ((_hanging, 3.0), (_on_hip, 1.6), (_waving, 1.4), (_raised, 1.4), (_spread, 1.2), (_bent, 1.0), (_muscle, 0.7))
_LEGS = ((_straight, 3.0), (_apart, 1.8), (_lifted, 0.8), (_aside, 0.8))


def _pick(rng: np.random.Generator, choices: tuple) -> Callable[[_Angle], _Limb]:
    weights = np.array([weight for _, weight in choices])
    return choices[rng.choice(len(choices), p=weights / weights.sum())][0]


def random_pose(rng: np.random.Generator) -> Pose:
    """Draw at random the pose of somebody standing, striding or gesturing."""

    def at(mean: float, spread: float) -> float:
        return mean + spread * float(np.clip(rng.normal(), -1.8, 1.8))

    limbs: dict[tuple[str, str], tuple[float, float]] = {}
    striding = rng.random() < 0.3
    if striding:  # opposite arms and legs swing together
        first = 1 if rng.random() < 0.5 else -1
        reach, run = at(26, 6), rng.random() < 0.4
        for side, sign in SIDES.items():
            swing = sign * first * reach
            limbs[side, 'upper_arm'] = (at(12, 4), -1.2 * swing)
            limbs[side, 'forearm'] = (at(6, 4), -1.2 * swing + (at(80, 10) if run else at(18, 8)))
            limbs[side, 'thigh'] = (at(4, 2), swing)
            limbs[side, 'shin'] = (at(2, 2), swing - (at(50, 10) if run and swing < 0 else at(12, 6)))
        return Pose(limbs, at(0, 2), at(6, 4) + 6 * run)
    both = _pick(rng, _ARMS) if rng.random() < 0.35 else None
    leg = _pick(rng, _LEGS)
    odd = rng.choice(list(SIDES)) if leg in (_lifted, _aside) else None  # stands on the other leg
    for side in SIDES:
        limbs[side, 'upper_arm'], limbs[side, 'forearm'] = (both or _pick(rng, _ARMS))(at)
        own = leg if odd in (None, side) else _straight
        limbs[side, 'thigh'], limbs[side, 'shin'] = own(at)
    return Pose(limbs, at(0, 4), at(2, 3))
