"""The lines of YOLO label files as arrays of numbers, and the reasons why a line is left out."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from detkit.datasets.skips import MOST_LISTED
from detkit.utils.numbers import parse_float

# A coordinate this far beyond [0, 1] is clipped; one that is farther out is no rounding error.
TOLERANCE = 0.01
# Coordinates beyond it are no fractions of an image at all.
_PIXELS = 2.0
# Class ids beyond it fit no integer; no dataset has them.
_MOST_CLASSES = 1_000_000
# Characters of a value that a reason shows.
_SHOWN = 20


class LineNote(NamedTuple):
    """A line that is left out.

    Attributes:
        file: the index of its file.
        line: its number in the file, from 1.
        reason: why, with the values that were found.
        kind: the reason without values; '' where ``reason`` has none.
        count: how many lines this one stands for.
    """

    file: int
    line: int
    reason: str
    kind: str = ''
    count: int = 1


class Lines:
    """The lines of some files that are not blank. Comments (``#``) are among ``unused`` from the start.

    Args:
        texts: the contents of each file: ASCII with or without UTF-8's byte-order mark, or UTF-16 with one.

    Attributes:
        values: ``(T,)`` float64, all their numbers in a row (NaN for what is no number).
        counts, starts: ``(L,)`` int64, how many numbers a line has and where in ``values`` they start.
        files, numbers: ``(L,)`` int64, a line's file and its number in it, from 1.
        skipped: the lines that were dropped so far because they are broken.
        unused: the lines that were dropped for another reason.
    """

    def __init__(self, texts: Sequence[bytes]) -> None:
        texts = [_clean(text) for text in texts]
        text = b'\n'.join(texts)
        tokens = text.split()
        try:  # float itself, which is faster, where no token can have Python's '_' between digits
            parse = parse_float if b'_' in text else float
            self.values = np.fromiter(map(parse, tokens), np.float64, len(tokens))
        except ValueError:
            self.values = np.fromiter(map(_float_or_nan, tokens), np.float64, len(tokens))
        characters = np.frombuffer(text, np.uint8)
        blank = (characters == 32) | ((characters >= 9) & (characters <= 13))
        token_starts = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]])) if len(text) else np.zeros(0, int)
        line_ends = np.flatnonzero(characters == 10)
        token_lines = np.searchsorted(line_ends, token_starts)
        lines, self.counts = np.unique(token_lines, return_counts=True)
        # A file starts where the ones before it, each with a line end behind it, stop.
        file_starts = np.cumsum([0] + [len(text) + 1 for text in texts[:-1]])
        first_lines = np.searchsorted(line_ends, file_starts)
        self.files = np.searchsorted(first_lines, lines, 'right') - 1
        self.numbers = lines - first_lines[self.files] + 1
        self.skipped: list[LineNote] = []
        self.unused: list[LineNote] = []
        self._drop_what_is_no_number(texts)

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.counts) - self.counts

    @property
    def labels(self) -> np.ndarray:
        """``(L,)`` int64 class ids, once ``drop_bad_ids`` has been called."""
        return self.values[self.starts].astype(np.int64)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all numbers but the class ids as ``(P, 2)`` pairs, and ``(L,)`` the index of a line's first pair."""
        is_coordinate = np.ones(len(self.values), bool)
        is_coordinate[self.starts] = False
        sizes = (self.counts - 1) // 2
        return self.values[is_coordinate].reshape(-1, 2), np.cumsum(sizes) - sizes

    def rows(self, length: int) -> np.ndarray:
        """Return ``(M, length)`` the numbers of the lines that have this length."""
        return self.values[np.repeat(self.counts == length, self.counts)].reshape(-1, length)

    def describe(self, mask: np.ndarray, reason: str, kind: str = '') -> list[LineNote]:
        """Return notes on the lines in ``mask``; ``{id}`` in a reason is the class id."""
        ids = self.values[self.starts]
        return [
            LineNote(int(self.files[i]), int(self.numbers[i]), reason.format(id=ids[i]), kind)
            for i in np.flatnonzero(mask)
        ]

    def summarise(self, mask: np.ndarray, reason: str) -> list[LineNote]:
        """Return notes on the lines in ``mask``, a single one with their count where they are many."""
        count = int(mask.sum())
        if count <= MOST_LISTED:
            return self.describe(mask, reason)
        first = np.zeros(len(mask), bool)
        first[np.argmax(mask)] = True
        return [self.describe(first, reason)[0]._replace(count=count)]

    def drop(self, mask: np.ndarray, reason: str, kind: str = '') -> None:
        """Take the lines in ``mask`` out and note why, among ``skipped``."""
        if not mask.any():
            return
        self.skipped += self.describe(mask, reason, kind)
        self._keep(~mask)

    def cut(self, mask: np.ndarray, length: int) -> None:
        """Forget all but the first ``length`` numbers of the lines in ``mask``."""
        position = np.arange(len(self.values)) - np.repeat(self.starts, self.counts)
        self.values = self.values[~np.repeat(mask, self.counts) | (position < length)]
        self.counts = np.where(mask, length, self.counts)

    def drop_other_counts(self, good: np.ndarray, expected: str, guess: Callable[[int], str]) -> None:
        """Drop the lines that are not ``good``, whose number of values is wrong.

        Args:
            good: ``(L,)`` bool.
            expected: how many values are right.
            guess: returns what a line of some number of values seems to be, and what to do; '' for no idea.
        """
        for count in np.unique(self.counts[~good]).tolist():
            wrong = ~good & (self.counts == count)
            hint = guess(count)
            self.drop(wrong, f'{count} values, where {expected}{hint and f" ({hint})"}')
            good = good[~wrong]

    def drop_bad_ids(self, num_classes: int | None) -> None:
        """Drop lines whose class id is no whole number from 0 to ``num_classes`` - 1 (without limit where None)."""
        ids = self.values[self.starts]
        bad = (ids != np.floor(ids)) | (ids < 0) | (ids >= (num_classes or _MOST_CLASSES))
        expected = f'from 0 to {num_classes - 1}' if num_classes else 'from 0'
        hint = ''
        if num_classes and bad.any() and ids.min() == 1 and ids.max() == num_classes:
            hint = '; the ids seem to count from 1'
        expected = f'where a whole number {expected} is expected{hint}'
        self.drop(bad, f'class id {{id:g}}, {expected}', f'class id out of range, {expected}')

    def drop_far_out(self, outside: np.ndarray, largest: np.ndarray, what: str) -> None:
        """Drop lines with coordinates outside the image.

        Args:
            outside: ``(L,)`` bool.
            largest: ``(L,)`` each line's largest absolute coordinate, by which pixels are known.
            what: the coordinate, in the reason.
        """
        pixels = outside & (largest > _PIXELS)
        hint = 'as if in pixels: divide x by the width of the image and y by its height'
        self.drop(pixels, f'{what} far outside [0, 1], {hint}')
        self.drop(outside[~pixels], f'{what} outside [0, 1] by more than {TOLERANCE:g}')

    def _keep(self, keep: np.ndarray) -> None:
        self.values = self.values[np.repeat(keep, self.counts)]
        self.counts, self.files, self.numbers = self.counts[keep], self.files[keep], self.numbers[keep]

    def _drop_what_is_no_number(self, texts: Sequence[bytes]) -> None:
        finite = np.logical_and.reduceat(np.isfinite(self.values), self.starts) if len(self.counts) else self.counts > 0
        if finite.all():
            return

        @lru_cache(maxsize=1)  # bad lines come one file after the other
        def lines_of(file: int) -> list[bytes]:
            return texts[file].split(b'\n')

        for i in np.flatnonzero(~finite).tolist():
            file, number = int(self.files[i]), int(self.numbers[i])
            words = lines_of(file)[number - 1].split()
            if words[0].startswith(b'#'):
                self.unused.append(LineNote(file, number, 'a comment'))
            else:
                self.skipped.append(LineNote(file, number, *_explain(words)))
        self._keep(finite)


def _clean(text: bytes) -> bytes:
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = text.decode('utf-16', errors='replace').encode()
    text = text.removeprefix(codecs.BOM_UTF8)
    return text.replace(b'\r\n', b'\n').replace(b'\r', b'\n') if b'\r' in text else text


def _float_or_nan(token: bytes) -> float:
    try:
        return parse_float(token)
    except ValueError:
        return float('nan')


def _explain(words: Sequence[bytes]) -> tuple[str, str]:
    """Return why a line with a value that is no number is left out, with the value and without."""
    bad = [i for i, word in enumerate(words) if not np.isfinite(_float_or_nan(word))]
    value = words[bad[0]].decode('utf-8', errors='replace')
    kind = 'a value that is no number'
    if all(re.fullmatch(rb'[+-]?[0-9]*,[0-9]+', words[i]) for i in bad):
        kind += ', with a decimal comma: write 0.5 in place of 0,5'
    elif any(b',' in words[i] or b';' in words[i] for i in bad):
        kind += ': spaces separate the values, no commas'
    elif bad == list(range(len(bad))) and re.search(r'[^\W\d_]', value) and len(words) > len(bad):
        kind += ': the class is given by its id, no name'
    elif b'\0' in words[bad[0]]:
        kind += ', with NUL bytes: save the file as UTF-8'
    shown = value if len(value) <= _SHOWN else f'{value[:_SHOWN]}...'
    return f'{kind} ({shown!r})', kind
