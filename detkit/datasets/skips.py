"""When bad entries in annotation files are too many to go on without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmengine.logging import print_log

from detkit.utils.errors import DataError

# (file, line or entry in it or None for all of it, reason)
Skip = tuple[str, int | str | None, str]

# How many of the entries and files an error names.
_SHOWN = 5


def check_skips(skipped: Sequence[Skip], num_entries: int, max_skipped: float, source: str) -> None:
    """Refuse a dataset of which too much had to be left out.

    A single bad entry never stops a run, however small the dataset.

    Args:
        skipped: (file, line or entry, reason) of what was left out.
        num_entries: how many objects and images there were, the skipped ones included.
        max_skipped: the share of them that may be left out.
        source: the name of the dataset in the message.

    Raises:
        DataError: more than ``max_skipped`` of the entries were left out.
    """
    if len(skipped) <= max(1, max_skipped * num_entries):
        return
    places = [f'{file}{"" if where is None else f":{where}"}: {reason}' for file, where, reason in skipped[:_SHOWN]]
    by_file = Counter(file for file, _, _ in skipped)
    worst = [f'{file} ({count})' for file, count in by_file.most_common(_SHOWN)]
    more = f' and {len(by_file) - _SHOWN} more files' if len(by_file) > _SHOWN else ''
    raise DataError(
        f'{len(skipped)} of {num_entries} images and objects in {source} cannot be used, which is more than '
        f'max_skipped={max_skipped:g} of them. They are in {", ".join(worst)}{more}. The first ones:\n  '
        + '\n  '.join(places)
        + '\nCorrect the files, or set max_skipped in the config of the dataset to the share you accept.'
    )


def note_duplicates(duplicates: Sequence[Skip], source: str) -> None:
    """Put a line into the log about repeated objects that were left out, if there are any."""
    if duplicates:
        places = [f'{file}:{where}' for file, where, _ in duplicates[:_SHOWN]]
        more = ', ...' if len(duplicates) > _SHOWN else ''
        print_log(f'{len(duplicates)} repeated objects of {source} left out: {", ".join(places)}{more}', 'current')
