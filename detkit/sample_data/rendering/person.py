"""Draws a person with clothes, and knows which of its joints are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.structures.keypoints import COCO_KEYPOINTS

from .anatomy import SIDES, Skeleton, random_pose, stand_up
from .canvas import Canvas, Sprite
from .clothes import DIGITS, SEGMENTS, Outfit, random_looks
from .head import Head, Looks
from .solids import Tube, tube
from .textures import noise, smoothstep

_TRUNK = (  # fraction from neck to crotch, half width, half depth
    (0.0, 0.05, 0.05),
    (0.05, 0.1, 0.065),
    (0.11, 0.165, 0.085),
    (0.2, 0.172, 0.105),
    (0.36, 0.16, 0.112),
    (0.58, 0.133, 0.1),
    (0.78, 0.15, 0.11),
    (0.92, 0.156, 0.118),
    (1.0, 0.15, 0.11),
)


@dataclass
class Person:
    """``sprite``, ``keypoints`` (17, 2) in its matrix's object coordinates, and ``seen`` (17,), COCO's 0, 1 or 2."""

    sprite: Sprite
    keypoints: np.ndarray
    seen: np.ndarray


class _Painter:
    """Draw a person part by part, from back to front."""

    def __init__(self, canvas: Canvas, body: Skeleton, looks: Looks, outfit: Outfit, rng: np.random.Generator) -> None:
        self.canvas, self.body, self.looks, self.outfit = canvas, body, looks, outfit
        self.head = Head(body.joints['head'], body.head_turn, looks)
        self.folds = noise(rng, canvas.x.shape, max(0.09 * canvas.scale, 4), 3)
        self.keypoints = {name: body.joints[name] for name in COCO_KEYPOINTS if name in body.joints}
        self.seen = {name: 2 for name in self.keypoints}
        for name, (place, seen) in self.head.keypoints().items():
            self.keypoints[name], self.seen[name] = place, seen

    def run(self) -> Person:
        joints, parts = self.body.joints, []
        depth = {name: place[2] for name, place in joints.items()}
        for side in SIDES:
            hip, knee, ankle = (depth[f'{side}_{name}'] for name in ('hip', 'knee', 'ankle'))
            parts.append(((hip + knee) / 2 - 0.07, self.thigh, side))
            parts.append(((knee + ankle) / 2 - 0.03, self.shin, side))
            shoulder, elbow, wrist = (depth[f'{side}_{name}'] for name in ('shoulder', 'elbow', 'wrist'))
            parts.append(((shoulder + elbow) / 2 + 0.055, self.upper_arm, side))
            parts.append(((elbow + wrist) / 2 + 0.06, self.forearm, side))
        knees = max(depth['left_knee'], depth['right_knee'])
        parts.append((max(0.0, knees + 0.02 if self.outfit.skirt else -1.0), self.hips, None))
        parts.append((0.03, self.trunk, None))
        parts.append((depth['neck'] + 0.02, self.neck, None))
        parts.append((depth['head'] + 0.05, self.face, None))
        if self.looks.style == 'long':
            behind = self.head.place(np.array([0, 0.9, -0.85]))[2]
            parts.append((depth['head'] + 0.06 if behind > depth['neck'] else -0.3, self.long_hair, None))
        for _, draw, side in sorted(parts, key=lambda part: part[0]):
            draw(*([side] if side else []))
        return Person(
            self.canvas.finish(),
            np.array([self.keypoints[name][:2] for name in COCO_KEYPOINTS]),
            np.array([self.seen[name] for name in COCO_KEYPOINTS]),
        )

    # parts -----------------------------------------------------------------------------------------------------
    def limb(self, names: tuple[str, str], profile: tuple, colour: np.ndarray, own: tuple, crease: float = 0.3) -> Tube:
        found = tube(self.canvas, self.body.joints[names[0]], self.body.joints[names[1]], profile)
        found.paint(colour, crease)
        self.covers(found.canvas, found.mask, own)
        return found

    def covers(self, part: Canvas, mask: np.ndarray, own: tuple[str, ...]) -> None:
        """Note which joints a part hides: all under it but its ``own``, which are seen from now on."""
        h, w = mask.shape
        for name, place in self.keypoints.items():
            if self.seen[name] == 0:
                continue
            x, y = np.floor(part.matrix @ (*place[:2], 1)).astype(int)
            if 0 <= x < w and 0 <= y < h and mask[y, x] > 0.5:
                self.seen[name] = 2 if name in own else 1

    def cloth(self, part: Canvas, mask: np.ndarray, strength: float = 0.16) -> None:
        """Draw folds."""
        x, y = np.rint(self.canvas.matrix[:, 2] - part.matrix[:, 2]).astype(int)
        h, w = mask.shape
        part.shade(1 + strength * self.folds[y : y + h, x : x + w], mask)

    def dress_limb(self, limb: Tube, reach: float, colour: np.ndarray) -> None:
        """Cover a limb down to ``reach`` of its length."""
        if reach <= 0:
            return
        part = limb.canvas
        mask = limb.mask * smoothstep(reach + 0.02, reach - 0.02, limb.along + 0.03 * limb.across**2)
        part.tint(mask, colour * part.diffuse(limb.normals, 0.5, 0.68)[..., None])
        self.cloth(part, mask)
        if reach < 1:
            part.shade(0.72, limb.mask * smoothstep(0.035, 0.0, np.abs(limb.along - reach)))

    def thigh(self, side: str) -> None:
        covered = self.outfit.leg > 0
        own = (f'{side}_hip', f'{side}_knee')
        profile = ((0, 0.08), (0.4, 0.075), (1, 0.05))
        if covered:
            profile = ((0, 0.088), (0.3, 0.086), (0.7, 0.068), (1, 0.06))
        limb = self.limb(own, profile, self.looks.skin, own, 0.22)
        self.dress_limb(limb, 2.0 if self.outfit.leg > 1 else self.outfit.leg, self.outfit.bottom)

    def shin(self, side: str) -> None:
        covered = self.outfit.leg > 1
        ankle, toe = self.body.joints[f'{side}_ankle'], self.body.joints[f'{side}_toe']
        heel, own = self.body.joints[f'{side}_heel'], (f'{side}_knee', f'{side}_ankle')
        profile = ((0, 0.049), (0.28, 0.055), (0.8, 0.034), (1, 0.034))
        if covered:
            profile = ((0, 0.059), (0.6, 0.053), (1, 0.052))
        if not covered:
            self.shoe(ankle, heel, toe, own)
        limb = self.limb((f'{side}_knee', f'{side}_ankle'), profile, self.looks.skin, own, 0.1)
        if covered:
            self.dress_limb(limb, 2.0, self.outfit.bottom)
            self.shoe(ankle, heel, toe, own)
        else:
            self.dress_limb(limb, 2.0, self.looks.skin)
            part = limb.canvas
            part.tint(limb.mask * smoothstep(0.86, 0.9, limb.along), (236, 234, 230), 0.9)

    def shoe(self, ankle: np.ndarray, heel: np.ndarray, toe: np.ndarray, own: tuple[str, ...]) -> None:
        drop = np.array([0, 0.016])
        sole = tube(self.canvas, heel[:2] + drop, toe[:2] + drop, ((0, 0.036), (1, 0.04)))
        sole.paint((228, 226, 220) if self.outfit.shoes.mean() < 200 else (90, 90, 96), 0.25)
        upper = tube(self.canvas, heel[:2], toe[:2], ((0, 0.042), (0.5, 0.044), (1, 0.036)))
        upper.paint(self.outfit.shoes, 0.1)
        collar = tube(self.canvas, ankle[:2], heel[:2], ((0, 0.04), (1, 0.04)))
        collar.paint(self.outfit.shoes, 0.0)
        for shape in (upper, collar):
            self.covers(shape.canvas, shape.mask, own)
        middle, lace = (heel[:2] + toe[:2]) / 2, (toe[:2] - heel[:2]) * 0.16
        across = np.array([-lace[1], lace[0]]) / max(np.hypot(*lace), 1e-3) * 0.022
        part = self.canvas.region([middle], 0.09)
        lines = [(middle + lace * k - across, middle + lace * k + across) for k in (-0.4, 0.6, 1.5)]
        laces = (250, 250, 250) if self.outfit.shoes.mean() < 150 else (70, 70, 76)
        part.tint(part.strokes(*lines, width=0.008), laces)

    def upper_arm(self, side: str) -> None:
        own = (f'{side}_shoulder', f'{side}_elbow')
        loose = 0.008 if self.outfit.sleeve else 0.0
        profile = ((0, 0.055 + loose), (0.35, 0.052 + loose), (1, 0.041 + loose * (self.outfit.sleeve > 1)))
        limb = self.limb((f'{side}_shoulder', f'{side}_elbow'), profile, self.looks.skin, own)
        self.dress_limb(limb, 2.0 if self.outfit.sleeve > 1 else self.outfit.sleeve, self.outfit.top)

    def forearm(self, side: str) -> None:
        elbow, wrist = self.body.joints[f'{side}_elbow'], self.body.joints[f'{side}_wrist']
        own = (f'{side}_elbow', f'{side}_wrist')
        reach = wrist[:2] - elbow[:2]
        length = max(np.hypot(*reach), 0.06)
        ahead = reach / length
        aside = np.array([-ahead[1], ahead[0]]) * SIDES[side] * (1 if self.body.turn[2, 2] > 0 else -1)
        grip = min(length / 0.25, 1)
        palm = wrist[:2] + ahead * 0.05 * grip
        hand = tube(self.canvas, wrist[:2], palm, ((0, 0.026), (1, 0.034)))
        hand.paint(self.looks.skin, 0.3)
        self.covers(hand.canvas, hand.mask, own)
        for k, stretch in ((-1.1, 0.042), (-0.35, 0.05), (0.35, 0.05), (1.1, 0.04)):
            root = palm + aside * 0.02 * k
            tip = root + (ahead + aside * 0.16 * k) * stretch * grip
            finger = tube(self.canvas, root, tip, ((0, 0.0105), (1, 0.009)))
            finger.paint(self.looks.skin, 0.25, soft=0.008)
        thumb = tube(self.canvas, wrist[:2] + ahead * 0.02, palm + aside * 0.05, ((0, 0.013), (1, 0.011)))
        thumb.paint(self.looks.skin, 0.15, soft=0.008)
        profile = ((0, 0.042), (0.3, 0.043), (1, 0.027))
        if self.outfit.sleeve > 1:
            profile = ((0, 0.049), (0.5, 0.044), (1, 0.037))
        limb = self.limb((f'{side}_elbow', f'{side}_wrist'), profile, self.looks.skin, own, 0.2)
        if self.outfit.sleeve > 1:
            self.dress_limb(limb, 0.93, self.outfit.top)
        else:
            self.dress_limb(limb, 2.0, self.looks.skin)

    def _trunk_tube(self, first: float, last: float, grow: float, flare: float = 0.0) -> tuple[Tube, np.ndarray]:
        """Return a piece of the trunk, and each pixel's longitude on it: 0 in front, positive to the body's left."""
        joints = self.body.joints
        neck, crotch = joints['neck'], joints['crotch']
        start, end = (neck + (crotch - neck) * t for t in (first, last))
        axis = (end - start)[:2] / np.hypot(*(end - start)[:2])
        front = self.body.turn[:, 2]
        across = front[1] * axis[0] - front[0] * axis[1]
        facing = np.arctan2(across, front[2])  # of the front, positive towards the tube's +across
        profile = []
        for t in np.linspace(first, last, 12):
            wide, deep = (np.interp(t, [row[0] for row in _TRUNK], [row[k] for row in _TRUNK]) for k in (1, 2))
            spread = flare * (t - first) / (last - first)
            profile.append(
                ((t - first) / (last - first), np.hypot(wide * np.cos(facing), deep * np.sin(facing)) + grow + spread)
            )
        found = tube(self.canvas, start, end, profile, round_ends=False)
        longitude = np.arcsin(found.across) - facing
        return found, -((longitude + np.pi) % (2 * np.pi) - np.pi)

    def hips(self) -> None:
        if self.outfit.skirt:
            found, _ = self._trunk_tube(0.78, 1.5, 0.004, 0.07)
        else:
            found, _ = self._trunk_tube(0.7, 1.04, 0.0)
        found.paint(self.outfit.bottom, 0.15 if self.outfit.skirt else 0.0)
        part = found.canvas
        if self.outfit.skirt:
            part.shade(1 + 0.16 * np.sin(found.across * 9), found.mask)
            part.shade(0.8, found.mask * smoothstep(0.93, 0.96, found.along))
        self.cloth(part, found.mask)
        self.covers(part, found.mask, ('left_hip', 'right_hip'))

    def neck(self) -> None:
        head, neck = self.body.joints['head'], self.body.joints['neck']
        found = tube(self.canvas, head, neck + (neck - head) * 0.12, ((0, 0.05), (0.6, 0.048), (1, 0.056)))
        found.paint(self.looks.skin * np.float32(0.86), 0.0)

    def trunk(self) -> None:
        found, longitude = self._trunk_tube(0.0, 0.9, 0.006)
        part, outfit = found.canvas, self.outfit
        found.paint(outfit.top, 0.2)
        lit = part.diffuse(found.normals, 0.5, 0.68)[..., None]
        down = found.along * 0.9
        front, back = np.abs(longitude), np.pi - np.abs(longitude)
        unit = np.float32(0.14)

        def ink(mask: np.ndarray, colour: np.ndarray | tuple) -> None:
            part.tint(mask * found.mask, np.asarray(colour, np.float32) * lit)

        if outfit.kind == 'stripes':
            ink(smoothstep(-0.15, 0.15, np.sin(down * 62)), outfit.second)
        elif outfit.kind == 'print':
            disc = np.hypot(longitude / 0.55, (down - 0.36) / 0.13)
            ink(part.inside((disc - 1) * 0.07), outfit.second)
            ink(part.inside((np.abs(disc - 0.62) - 0.12) * 0.07), outfit.top)
        elif outfit.kind == 'jacket':
            opening = 0.12 + 0.36 * smoothstep(0.45, 0.05, down)
            ink(part.inside((front - opening) * unit), outfit.second)
            part.shade(0.6, found.mask * part.inside((np.abs(front - opening) - 0.035) * unit))
            pocket = np.maximum(np.abs(front - 0.85) - 0.28, np.abs(down - 0.66) * 2.4 - 0.035)
            part.shade(0.62, found.mask * part.inside(pocket * unit))
            part.shade(0.75, found.mask * part.inside((np.abs(down - 0.27) * 6 - 0.06) * unit) * (back < 1.2))
        elif outfit.kind == 'shirt':
            part.shade(0.75, found.mask * part.inside((np.abs(front - 0.11) - 0.02) * unit))
            button = np.hypot(longitude, (((down + 0.03) % 0.12) - 0.06) * 4.2)
            ink(part.inside((button - 0.075) * unit) * (front < 0.3), outfit.second)
            part.shade(0.7, found.mask * part.inside((np.hypot(longitude - 0.55, (down - 0.3) * 4) - 0.24) * unit))
        else:
            digit = np.full(part.x.shape, 9.0, np.float32)
            for x, y, half_w, half_h in (SEGMENTS[name] for name in DIGITS[outfit.digit]):
                behind = np.where(longitude > 0, longitude - np.pi, longitude + np.pi)  # read from behind
                u, v = behind / 0.42 * -1, (down - 0.4) / 0.13
                digit = np.minimum(digit, np.maximum(np.abs(u + x) - half_w, np.abs(v - y) - half_h))
            ink(part.inside(digit * 0.06), outfit.second)
            ink(part.inside((np.abs(front - 1.57) - 0.16) * unit), outfit.second)
            ink(part.inside((np.maximum(front - 0.5, np.abs(down - 0.34) * 5 - 0.14)) * unit), outfit.second)
        # neckline: deep in front, high behind
        neckline = 0.085 + 0.055 * smoothstep(0.9, 0.0, front) * (1.4 if outfit.kind in ('jacket', 'shirt') else 1.0)
        neckline = neckline * smoothstep(0.45, 0.3, np.abs(found.across)) - 0.05 * (front > 1.6)
        hole = part.inside((down - neckline) * 0.5)
        part.shade(0.7, found.mask * part.inside((np.abs(down - neckline) - 0.012) * 0.5) * (down > 0.01))
        part.tint(hole * found.mask * (np.abs(found.across) < 0.45), self.looks.skin * lit, 1.0)
        self.cloth(part, found.mask)
        part.shade(0.7, found.mask * smoothstep(0.97, 1.0, found.along))
        near = tuple(f'{side}_hip' for side in SIDES if self.body.joints[f'{side}_hip'][2] > -0.055)
        self.covers(part, found.mask, near)

    def face(self) -> None:
        ears = self.looks.style not in ('long', 'beanie')
        near = {side: (self.body.head_turn @ (sign, 0, 0))[2] > 0.12 for side, sign in SIDES.items()}
        for side in SIDES:
            if ears and not near[side]:
                self.head.draw_ear(self.canvas, side)
        before = dict(self.seen)
        part = self.canvas.region([self.body.joints['head'][:2]], 0.19)
        self.covers(part, self.head.draw(self.canvas), ())
        self.seen.update({name: before[name] for name in self.head.keypoints()})
        for side in SIDES:
            if ears and near[side]:
                self.head.draw_ear(self.canvas, side)

    def long_hair(self) -> None:
        self.head.draw_long_hair(self.canvas)


def draw_person(rng: np.random.Generator, height: float, facing: float) -> Person:
    """Draw somebody in some pose.

    Args:
        rng: chooses looks, clothes and pose.
        height: pixels that 1.75 m, a person standing upright, take.
        facing: degrees from facing the viewer towards the picture's right; 180 shows the back.
    """
    looks, outfit = random_looks(rng)
    body = stand_up(random_pose(rng), facing, (rng.uniform(-28, 28), rng.uniform(-8, 14)), rng.uniform(4, 12))
    places = np.array(list(body.joints.values()))[:, :2]
    low, high = places.min(0) - 0.2, places.max(0) + 0.2
    canvas = Canvas((low[0], low[1], high[0], high[1]), height / 1.75)
    return _Painter(canvas, body, looks, outfit, rng).run()
