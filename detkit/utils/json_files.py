"""Reading JSON files that other programs wrote."""

from __future__ import annotations

import json
import os
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


def parse_json(text: str, source: str) -> Any:
    """Return what a JSON text holds; ``source`` names it in the error, see ``read_json``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a whole number of thousands of digits
        raise DataError(f'{source} is no valid JSON: {error}') from error
