"""``ViewOptions``: the options of sliced inference and test-time augmentation. It is imported without PyTorch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from detkit.utils.call_options import CallOptions, check_flag, number, option
from detkit.utils.errors import ConfigError

_AUGMENTATION = re.compile(r'(?:(?P<name>plain|hflip|vflip)(?:@(?P<factor>\d*\.?\d+))?)|(?P<alone>\d*\.?\d+)')
_SCALES = (0.1, 4.0)
_LEAST_TILE = 32


@dataclass(frozen=True)
class Augmentation:
    """A changed copy of an image for test-time augmentation.

    Attributes:
        flip: '' for none, 'hflip' to exchange left and right, 'vflip' to exchange top and bottom.
        scale: the factor of the input size.
    """

    flip: str = ''
    scale: float = 1.0


PLAIN = Augmentation()
# The augmentations of ``tta=True``.
DEFAULT_AUGMENTATIONS = ('plain', 'hflip', '0.8', 'hflip@1.2')


def parse_augmentations(wanted: bool | str | Sequence[str | float]) -> tuple[Augmentation, ...]:
    """Return the augmentations that ``tta`` names: the plain image for False, ``DEFAULT_AUGMENTATIONS`` for True.

    Args:
        wanted: names: 'plain', 'hflip', 'vflip', a factor of the input size such as 0.8, or both as in 'hflip@0.8'.

    Raises:
        ConfigError: an entry is none of these, or two are the same.
    """
    if isinstance(wanted, bool) or type(wanted).__name__ == 'bool_':
        wanted = DEFAULT_AUGMENTATIONS if wanted else ('plain',)
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(wanted, Sequence):
        raise ConfigError(f"tta is {wanted!r}, but must be True, False, or a list such as ['plain', 'hflip', 0.8]")
    if not wanted:
        names = ', '.join(DEFAULT_AUGMENTATIONS)
        raise ConfigError(f'tta is {wanted!r}, which names no augmentation: give True for {names}, or False for none')
    parsed = tuple(map(_parse, wanted))
    for index, augmentation in enumerate(parsed):
        if augmentation in parsed[:index]:
            raise ConfigError(f'tta names {wanted[index]!r} twice; name each augmentation once')
    return parsed


def _parse(entry: Any) -> Augmentation:
    match = None if isinstance(entry, bool) else _AUGMENTATION.fullmatch(str(entry))
    if match is None:
        raise ConfigError(
            f"tta has the entry {entry!r}, but an entry must be 'plain', 'hflip', 'vflip', a factor of the input size "
            "such as 0.8, or both as in 'hflip@0.8'"
        )
    scale = float(match['factor'] or match['alone'] or 1)
    if not _SCALES[0] <= scale <= _SCALES[1]:
        raise ConfigError(f'tta scales by {scale:g} in {entry!r}, but must scale by {_SCALES[0]} to {_SCALES[1]}')
    return Augmentation((match['name'] or 'plain').replace('plain', ''), scale)


def _check_tile(name: str, value: Any) -> None:
    tile_shape(value, name)


def tile_shape(tile: Any, name: str = 'tile') -> tuple[int, int]:
    """Return (h, w) of the tiles.

    Raises:
        ConfigError: ``tile`` is neither a side nor two.
    """
    sides = [tile] if isinstance(tile, Integral) else tile
    sides = [*sides, *sides][:2] if isinstance(sides, Sequence) and len(sides) == 1 else sides
    fits = (
        isinstance(sides, Sequence)
        and len(sides) == 2
        and all(isinstance(side, Integral) and not isinstance(side, bool) and side >= _LEAST_TILE for side in sides)
    )
    if not fits:
        raise ConfigError(
            f'{name} is {tile!r}, but must be the side of the tiles in pixels of the image, at least {_LEAST_TILE}, or '
            'their (height, width)'
        )
    return int(sides[0]), int(sides[1])


def _one_of(*known: str):
    def check(name: str, value: Any) -> None:
        if value not in known:
            raise ConfigError(f'{name} is {value!r}, but must be one of {", ".join(map(repr, known))}')

    return check


@dataclass(frozen=True)
class ViewOptions(CallOptions):
    """The options of sliced inference (SAHI, arXiv:2202.06934) and of test-time augmentation (TTA).

    Attributes:
        tile: side of the tiles in pixels of the image, or (h, w): each tile is predicted on as an image of its own, and
            the predictions are merged. None for the image as it is.
        tile_overlap: shared by neighbouring tiles, as a share of the side. Objects smaller than that are whole in
            some tile.
        tile_whole: predict on the whole image too, scaled to the network's input, which finds objects that no
            tile shows whole. An image that one tile covers is predicted on once.
        tile_merge: 'nmm' (non-maximum merging) unites the parts of an object that no tile shows whole; 'nms' keeps the
            best of them alone.
        tile_metric: the overlap of boxes from two tiles: 'shared' is the IoU of what both tiles show of them, 'iou'
            that of the boxes, 'ios' their intersection over the smaller one.
        tile_merge_thr: boxes of a class from two tiles that overlap more show one object.
        tta: test-time augmentation: True, or a list of 'plain', 'hflip', 'vflip', factors of the input size such as
            0.8, and both as in 'hflip@0.8'. True stands for 'plain', 'hflip', 0.8 and 'hflip@1.2'.
        tta_merge: 'nms' keeps the best of the boxes that show one object, 'wbf' averages them (weighted box fusion);
            boxes that overlap more than ``iou_thr`` show one object. Of a classifier the probabilities are averaged.

    Raises:
        ConfigError: an option has a value that makes no sense.
    """

    tile: int | Sequence[int] | None = option(
        None,
        'sliced inference: predict on overlapping tiles with sides of so many pixels (or height and width)',
        _check_tile,
        ['--slice'],
        type=int,
        nargs='+',
        metavar='PIXELS',
    )
    tile_overlap: float = option(
        0.2,
        "overlap of neighbouring tiles, as a share of a tile's side (default: 0.2)",
        number(Real, 0, 0.9),
        type=float,
    )
    tile_whole: bool = option(
        True, 'with tiles, predict on the whole image at reduced scale too (default: yes)', check_flag
    )
    tile_merge: str = option(
        'nmm',
        'how tiles are merged: unite the parts of an object (nmm) or keep the best one (nms); default: nmm',
        _one_of('nmm', 'nms'),
        choices=('nmm', 'nms'),
    )
    tile_metric: str = option(
        'shared',
        'overlap of boxes from two tiles: IoU of what both tiles show (shared), IoU (iou), or intersection over the '
        'smaller box (ios); default: shared',
        _one_of('shared', 'iou', 'ios'),
        choices=('shared', 'iou', 'ios'),
    )
    tile_merge_thr: float = option(
        0.5, 'boxes from two tiles that overlap more show one object (default: 0.5)', number(Real, 0, 1), type=float
    )
    tta: bool | str | Sequence[str | float] = option(
        False,
        'test-time augmentation: flips and scales such as plain hflip vflip 0.8 hflip@0.8 (without any: plain hflip '
        '0.8 hflip@1.2)',
        lambda _, value: parse_augmentations(value),
        ['--augment'],
        nargs='*',
        metavar='AUGMENTATION',
    )
    tta_merge: str = option(
        'nms',
        'how augmented predictions are merged: best box (nms) or weighted box fusion (wbf); default: nms',
        _one_of('nms', 'wbf'),
        choices=('nms', 'wbf'),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for owner, used in (('tile', self.tile is not None), ('tta', self.tta is not False)):
            for each in () if used else fields(ViewOptions):
                if each.name.startswith(f'{owner}_') and getattr(self, each.name) != each.default:
                    raise ConfigError(
                        f'{each.name} is {getattr(self, each.name)!r}, but has no effect without {owner}: give '
                        f'{owner}, or leave {each.name} out'
                    )

    @property
    def augmentations(self) -> tuple[Augmentation, ...]:
        """The augmentations that ``tta`` names."""
        return parse_augmentations(self.tta)

    @property
    def views(self) -> bool:
        """Whether more is predicted on than the image as it is."""
        return self.tile is not None or self.augmentations != (PLAIN,)
