"""Division of one set of images into a training and a validation side that hold by themselves.

An image's side follows from its file's name, its classes and the set as a whole: no list is stored, and every process,
machine and format gives the same answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from detkit.datasets.records import Records
from detkit.utils.errors import ConfigError, DataError

__all__ = ['check_subset', 'choose_subset']

_SIDES = ('train', 'val')
_FOLDER = 'folder'


def check_subset(subset: Sequence | None, group: str | None, owner: str) -> None:
    """Check the arguments that ``choose_subset`` takes.

    Raises:
        ConfigError: a value that they cannot have; ``owner`` names the dataset.
    """
    if group is not None and group != _FOLDER:
        try:
            re.compile(group)
        except re.error as error:
            raise ConfigError(
                f"subset_group={group!r} of {owner} is neither 'folder' nor a regular expression: {error}"
                "; write 'folder', or correct the expression"
            ) from error
    if subset is None:
        return
    side, share = subset if len(subset) == 2 else (None, None)
    if side not in _SIDES or isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise ConfigError(
            f"subset={subset!r} of {owner} must be ('train', share) or ('val', share), where share is the share of "
            'the images to train on, between 0 and 1'
        )


def choose_subset(records: Records, side: str, share: float, group: str | None, source: str) -> np.ndarray:
    """Return the indices of the images on one side of a division, ascending.

    Images are ordered by a hash of their files' names, and the first ones trained on. Without ``group`` this is done
    for the images of each class apart, an image with several classes counting for its rarest one, and images without an
    object apart from them all. The number of training images among n is ``share * n``, rounded down or up as a hash of
    the class decides, so that many small classes together keep the share as well; a class's only image is trained on.
    An image that is added changes the side of one other image of its class at most, as a rule of none.

    Args:
        records: all images.
        side: 'train' or 'val'; the two sides have no image in common, and together all of them.
        share: the share of the images that are trained on, between 0 and 1.
        group: images that belong together, and thus on one side: 'folder' for those of a folder; otherwise a regular
            expression, searched for in a file's name without its suffix, whose first group (or whole match) images of
            one group share. The sides' shares are as close to ``share`` as whole groups allow; classes play no part.
        source: the name of the dataset in messages.

    Raises:
        DataError: a side would have no image, or an image matches no group.
    """
    paths = records.paths()
    names = paths if group is None else _group_names(paths, group, source)
    units: dict[str, int] = {}
    unit_of = np.array([units.setdefault(name, len(units)) for name in names], np.int64)
    # Hashes of names, first without the folder above, as folders are moved.
    keys = [_sort_key(os.path.splitext(name)[0] if group is None else name) for name in units]
    counts = np.bincount(unit_of)
    strata = np.zeros(len(units), np.int64)
    if group is None:
        strata[unit_of] = _rarest_labels(records)
    trains = np.zeros(len(units), bool)
    for stratum in np.unique(strata):
        members = sorted(np.flatnonzero(strata == stratum), key=keys.__getitem__)
        before = np.cumsum(counts[members]) - counts[members]
        # The point of a unit that must lie within the quota: of a group its middle, of single images a random one.
        point = 1 - _uniform(f'class {stratum}') if group is None else 0.5
        trains[members] = before + point * counts[members] <= share * counts[members].sum()
        trains[members[0]] |= group is None
    if trains.all() or not trains.any():
        if len(units) < 2:
            what = 'one image' if group is None else f'all images in one group of subset_group={group!r}'
            raise DataError(f'{source} has {what}, which cannot be divided into images to train and to validate on')
        order = sorted(range(len(units)), key=keys.__getitem__)
        trains[order[0]], trains[order[-1]] = True, False
    return np.flatnonzero(trains[unit_of] == (side == 'train'))


def _group_names(paths: Sequence[str], group: str, source: str) -> list[str]:
    """Return the name of each image's group."""
    if group == _FOLDER:
        return [os.path.dirname(path) for path in paths]
    matches = [re.search(group, os.path.splitext(os.path.basename(path))[0]) for path in paths]
    missing = [path for path, match in zip(paths, matches, strict=True) if match is None]
    if missing:
        raise DataError(
            f'{len(missing)} of {len(paths)} images of {source} do not match subset_group={group!r}, the first is '
            f"{missing[0]!r}. Correct the expression; with '|.+' at its end they are groups of their own."
        )
    # A group of the expression that took no part leaves the whole match.
    return [next((part for part in match.groups()[:1] if part is not None), match.group()) for match in matches]


def _sort_key(name: str) -> tuple[float, float, str]:
    above, base = os.path.split(name)
    return _uniform(base), _uniform(f'{os.path.basename(above)}/{base}'), name


def _rarest_labels(records: Records) -> np.ndarray:
    """Return ``(I,)`` int64: of the classes in an image the one that the fewest images show; -1 without an object."""
    images, labels = records.image_classes()
    frequency = np.bincount(labels)
    by_frequency = np.argsort(frequency, kind='stable')
    rank = np.argsort(by_frequency)
    rarest = np.full(len(records), len(frequency))
    np.minimum.at(rarest, images, rank[labels])
    return np.append(by_frequency, -1)[rarest]


def _uniform(text: str) -> float:
    """Return a number in [0, 1) by which texts are in random order, always the same."""
    return int.from_bytes(blake2b(text.encode(errors='surrogateescape'), digest_size=6).digest(), 'big') / 2**48
