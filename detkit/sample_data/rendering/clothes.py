"""The looks and the clothes of people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .head import Looks

_SKINS = ((244, 204, 176), (228, 178, 142), (200, 146, 108), (156, 106, 74), (112, 74, 52), (250, 216, 192))
_HAIRS = ((38, 28, 24), (84, 54, 34), (140, 92, 48), (212, 172, 96), (150, 60, 34), (150, 148, 146), (24, 22, 26))
_CLOTHES = (
    (196, 42, 46),
    (34, 78, 160),
    (36, 126, 74),
    (236, 178, 42),
    (240, 238, 232),
    (44, 46, 54),
    (126, 66, 150),
    (236, 118, 44),
    (66, 164, 190),
    (222, 110, 150),
    (136, 142, 92),
    (150, 154, 162),
)
_TROUSERS = ((46, 62, 104), (38, 38, 44), (150, 132, 100), (92, 96, 104), (72, 88, 60), (120, 70, 50), (176, 176, 172))
_SHOES = ((240, 240, 238), (44, 40, 42), (150, 90, 54), (200, 50, 50), (52, 92, 160))

SEGMENTS = {  # seven-segment digits: across, down, half width, half height
    'top': (0, -1, 0.6, 0.17),
    'middle': (0, 0, 0.6, 0.17),
    'bottom': (0, 1, 0.6, 0.17),
    'upper left': (-0.55, -0.5, 0.17, 0.6),
    'upper right': (0.55, -0.5, 0.17, 0.6),
    'lower left': (-0.55, 0.5, 0.17, 0.6),
    'lower right': (0.55, 0.5, 0.17, 0.6),
}
DIGITS = (
    ('top', 'upper right', 'lower right'),
    ('top', 'upper right', 'middle', 'lower left', 'bottom'),
    ('top', 'upper right', 'middle', 'lower right', 'bottom'),
    ('upper left', 'middle', 'upper right', 'lower right'),
    ('top', 'upper left', 'middle', 'lower right', 'bottom'),
    tuple(SEGMENTS),
)


@dataclass(frozen=True)
class Outfit:
    """Colours are RGB 0-255.

    Attributes:
        top, second: colours of what is worn above.
        kind: 'print', 'stripes', 'jacket', 'shirt' or 'jersey'.
        sleeve: how far down the arm it reaches, 0 none, 1 the elbow, 2 the wrist.
        bottom: colour of trousers or skirt.
        leg: as ``sleeve``, 1 the knee, 2 the ankle.
        skirt: a skirt to the knees instead.
        shoes: colour.
        digit: of a jersey.
    """

    top: np.ndarray
    second: np.ndarray
    kind: str
    sleeve: float
    bottom: np.ndarray
    leg: float
    skirt: bool
    shoes: np.ndarray
    digit: int


def _choose(rng: np.random.Generator, colours: tuple) -> np.ndarray:
    return np.clip(np.float32(colours[rng.integers(len(colours))]) * rng.uniform(0.88, 1.1), 0, 255).astype(np.float32)


def random_looks(rng: np.random.Generator) -> tuple[Looks, Outfit]:
    """Draw at random how somebody looks."""
    style = ('short', 'short', 'long', 'long', 'bun', 'bald', 'beanie')[rng.integers(7)]
    looks = Looks(
        skin=_choose(rng, _SKINS),
        hair=_choose(rng, _HAIRS),
        style=style,
        hat=_choose(rng, _CLOTHES),
        mouth=rng.uniform(0.26, 0.38),
        smile=rng.uniform(0.2, 1.0),
        beard=style in ('short', 'bald', 'beanie') and rng.random() < 0.3,
        glasses=rng.random() < 0.2,
    )
    kind = ('print', 'stripes', 'jacket', 'shirt', 'jersey')[rng.integers(5)]
    skirt = style in ('long', 'bun') and rng.random() < 0.5
    outfit = Outfit(
        top=_choose(rng, _CLOTHES),
        second=_choose(rng, _CLOTHES),
        kind=kind,
        sleeve=2.0 if kind == 'jacket' else (0.55, 0.6, 2.0)[rng.integers(3)],
        bottom=_choose(rng, _TROUSERS if not skirt else _CLOTHES),
        leg=(2.0, 2.0, 0.9)[rng.integers(3)] if not skirt else 0.0,
        skirt=skirt,
        shoes=_choose(rng, _SHOES),
        digit=int(rng.integers(len(DIGITS))),
    )
    return looks, outfit
