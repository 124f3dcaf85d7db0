"""Entries that a dataset leaves out of its files, counted by reason, and the limit of their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from detkit.utils.errors import DataError
from detkit.utils.printable import printable

# How many entries, files or reasons a message names.
_SHOWN = 5
# Entries of one reason that are listed one by one where a dataset may have millions of them.
MOST_LISTED = 100

# The kind of a skip that stands for an image that an annotation names, but that is not there.
MISSING_IMAGE = 'an image that does not exist'

Entry = TypeVar('Entry')


class Skip(NamedTuple):
    """An entry of a dataset's files that is not used.

    Attributes:
        path: the file that holds it.
        where: the line or object in it; None for all of the file.
        reason: why, with the values that were found.
        kind: the reason without values, by which entries are counted; '' where ``reason`` has no values.
        count: how many entries this one stands for.
    """

    path: str
    where: int | str | None
    reason: str
    kind: str = ''
    count: int = 1

    def location(self) -> str:
        """Return the file and the entry in it, printable also where a file's name is no valid Unicode."""
        return printable(str(self.path) if self.where is None else f'{self.path}:{self.where}')


def list_skips(
    entries: Sequence[Entry], locate: Callable[[Entry], tuple[str, int | str | None]], reason: str, kind: str = ''
) -> list[Skip]:
    """Return what is said of entries that are left out for one reason.

    Args:
        entries: all of them, possibly none.
        locate: returns the file of one of them and the place in it, see ``Skip``.
        reason, kind: see ``Skip``.

    Returns:
        A ``Skip`` for each; where they are many, a single one at the first, with the count of all.
    """
    if len(entries) > MOST_LISTED:
        return [Skip(*locate(entries[0]), reason, kind, len(entries))]
    return [Skip(*locate(entry), reason, kind) for entry in entries]


def skip_lines(skips: Iterable[Skip]) -> Iterator[str]:
    """Yield a line for each reason, the most frequent first, with its count and its first entry."""
    counts: Counter[str] = Counter()
    first: dict[str, Skip] = {}
    for skip in skips:
        kind = skip.kind or skip.reason
        counts[kind] += skip.count
        first.setdefault(kind, skip)
    for kind, count in counts.most_common():
        yield f'{count:,} × {printable(kind)}, such as {first[kind].location()}'


def check_skips(
    skipped: Sequence[Skip],
    num_entries: int,
    max_skipped: float,
    source: str,
    folder_remedy: Callable[[], str] | None = None,
) -> None:
    """Refuse a dataset of which too much had to be left out.

    A single bad entry never stops a run, however small the dataset.

    Args:
        skipped: what was left out because it is broken.
        num_entries: how many objects and images there were, the skipped ones included.
        max_skipped: the share of them that may be left out.
        source: the name of the dataset in the message.
        folder_remedy: returns what to correct where most of the entries are ``MISSING_IMAGE``.

    Raises:
        DataError: more than ``max_skipped`` of the entries were left out.
    """
    count = sum(skip.count for skip in skipped)
    if count <= max(1, max_skipped * num_entries):
        return
    by_file: Counter[str] = Counter()
    for skip in skipped:
        by_file[printable(str(skip.path))] += skip.count
    worst = [f'{file} ({number})' for file, number in by_file.most_common(_SHOWN)]
    more = f' and {len(by_file) - _SHOWN} more files' if len(by_file) > _SHOWN else ''
    remedy = 'Correct the files, or set max_skipped in the config of the dataset to the share you accept.'
    if folder_remedy is not None and 2 * sum(skip.count for skip in skipped if skip.kind == MISSING_IMAGE) > count:
        remedy = f'Most are images that do not exist. {folder_remedy()}'
    raise DataError(
        f'{count} of {num_entries} images and objects in {source} cannot be used, which is more than '
        f'max_skipped={max_skipped:g} of them. They are in {", ".join(worst)}{more}. The first ones:\n  '
        + '\n  '.join(f'{skip.location()}: {printable(skip.reason)}' for skip in skipped[:_SHOWN])
        + f'\n{remedy}'
    )
