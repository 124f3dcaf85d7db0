"""Reading JSON files that other programs wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from typing import Any

from detkit.utils.errors import DataError
from detkit.utils.text_files import read_text


def read_json(path: str | os.PathLike, what: str = 'annotation file') -> Any:
    """Return the contents of a JSON file in any encoding that ``read_text`` knows.

    Args:
        path: the file.
        what: a noun for the file in errors.

    Raises:
        DataError: the file cannot be read, is no JSON, or is nested too deeply.
    """
    return parse_json(read_text(path, what), f'the {what} {os.fspath(path)!r}')


def parse_json(text: str, source: str, unique: Collection[str] | None = None) -> Any:
    """Return what a JSON text holds, see ``read_json``.

    Args:
        text: the contents of a file, or of one of its lines.
        source: its name in errors.
        unique: the keys whose lists and objects must not be given twice in one object, of which only the last would
            be read; None for all keys.

    Raises:
        DataError: it is no JSON, is nested too deeply, or gives a list or an object twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_refuse_repeats(source, unique))
    except RecursionError as error:
        raise DataError(f'{source} is no valid JSON: it is nested too deeply') from error
    except ValueError as error:  # also a whole number of thousands of digits
        raise DataError(f'{source} is no valid JSON: {error}') from error


def _refuse_repeats(source: str, unique: Collection[str] | None) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: dict[str, Any] = {}
            for key, value in pairs:
                is_lost = isinstance(seen.get(key), list | dict) and seen[key] and seen[key] != value
                if is_lost and (unique is None or key in unique):
                    raise DataError(
                        f'{source} has the key {key!r} twice in one object with different contents, of which only the '
                        'last would be read. Join the two.'
                    )
                seen[key] = value
        return found

    return build
