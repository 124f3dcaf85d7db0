"""Images that are no files: what a function of a user's own reads, such as members of an archive."""

from __future__ import annotations

import numpy as np

from detkit.registry import IMAGE_READERS
from detkit.utils.errors import ComponentError, DataError

__all__ = ['has_reader', 'missing_reader', 'read_own']

# The errors of a reader whose image is missing or broken; any other one is a mistake in the reader.
_UNREADABLE = (OSError, LookupError, ValueError, DataError)


def has_reader(name: str) -> bool:
    """Return whether a name is one that a reader of a user's own reads."""
    scheme, mark, _ = name.partition('://')
    return bool(mark) and IMAGE_READERS.get(scheme) is not None


def read_own(name: str) -> np.ndarray | bytes | None:
    """Return what the reader of a name such as 'tar://photos.tar/a.jpg' returns; None for the name of a file.

    Returns:
        ``(h, w, 3)`` uint8 RGB, or the contents of an image file.

    Raises:
        OSError: the reader says that there is no such image.
        ComponentError: the reader fails, or returns anything else.
    """
    scheme, mark, rest = name.partition('://')
    reader = IMAGE_READERS.get(scheme) if mark else None
    if reader is None:
        return None
    title = f'the image reader {scheme!r} ({reader.__module__}.{reader.__qualname__})'
    try:
        found = reader(rest)
    except _UNREADABLE as error:
        raise OSError(f'{title} raises {type(error).__name__}: {error}') from error
    except Exception as error:
        raise ComponentError(f'{title} fails on {rest!r}: {type(error).__name__}: {error}', scheme) from error
    if isinstance(found, bytes | bytearray | memoryview):
        return bytes(found)
    if isinstance(found, np.ndarray) and found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3:
        if found.size:
            return np.ascontiguousarray(found)
    kind = f'an array of {found.dtype} {found.shape}' if isinstance(found, np.ndarray) else f'a {type(found).__name__}'
    raise ComponentError(
        f'{title} returns {kind} for {rest!r}, but must return an array of uint8 (h, w, 3) RGB, or the bytes of an '
        'image file',
        scheme,
    )


def missing_reader(name: str) -> str:
    """Return a hint for a name that cannot be opened, as no reader is registered for it; '' for the name of a file."""
    scheme, mark, _ = name.partition('://')
    if not mark or has_reader(name):
        return ''
    return (
        f'; images that are no files need a reader of their scheme: a function registered as {scheme!r} in '
        'IMAGE_READERS, in a module that custom_imports names'
    )
