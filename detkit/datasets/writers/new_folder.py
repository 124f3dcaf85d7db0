"""The folder that a conversion writes: it is there when all of it is, and images keep their names apart."""

from __future__ import annotations

import errno
import os
import shutil
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from detkit.datasets.image_files import has_image_suffix
from detkit.datasets.image_readers import read_own
from detkit.datasets.transforms.loading import read_image
from detkit.datasets.writers.conversion_source import Tally
from detkit.utils.errors import DataError
from detkit.utils.files import draft_folder

__all__ = ['IMAGE_MODES', 'PlacedImages', 'new_folder']

IMAGE_MODES = ('link', 'copy', 'leave')

# Errors of file systems that make no hard link between two files.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder, which becomes ``target`` when the block ends well and is removed when it does not.

    Raises:
        DataError: ``target`` holds files already, is no folder, or cannot be written.
    """
    target = Path(os.path.abspath(target))
    if target.is_symlink() and not target.exists():
        raise DataError(
            f'{str(target)!r} is a link to {os.readlink(target)!r}, which does not exist; make it, or remove the link'
        )
    if target.exists() and not target.is_dir():
        raise DataError(f'{str(target)!r} is a file, where a folder is to be written; choose another name')
    if target.exists() and any(target.iterdir()):
        raise DataError(f'{str(target)!r} exists already and is not empty; choose another folder, or empty it')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(target.parent) as draft:
            folder = draft / target.name
            folder.mkdir()
            yield folder
            if target.exists():
                target.rmdir()
            folder.rename(target)
    except OSError as error:
        raise DataError(f'{str(target)!r} cannot be written: {error.strerror or error}') from error


class PlacedImages:
    """A folder that images are put into. Names are kept where they can be; no two differ in their suffix alone.

    Args:
        folder: the folder, made where it is missing.
        mode: 'link' to make hard links, and copies where the file system makes none; 'copy'.
        tally: counts images that cannot be copied, and names that had to change.
        spaces: whether names may have spaces.
    """

    def __init__(self, folder: Path, mode: str, tally: Tally, spaces: bool = True) -> None:
        self._folder = folder
        self._mode = mode
        self._tally = tally
        self._spaces = spaces
        self._taken: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, path: str) -> str | None:
        """Put an image into the folder and return its name there; None, counted, where it cannot be read."""
        try:
            path, own = _encoded(path)
        except (OSError, DataError) as error:
            self._tally.add(f'an image that cannot be read ({error})', path)
            return None
        name = self._free_name(path)
        target = self._folder / name
        try:
            if own is not None:
                target.write_bytes(own)
            elif not (self._mode == 'link' and _link(path, target)):
                shutil.copyfile(path, target)
        except FileNotFoundError:
            self._tally.add('an image that does not exist', path)
            return None
        except (PermissionError, shutil.SameFileError, IsADirectoryError) as error:
            self._tally.add(f'an image that cannot be copied ({getattr(error, "strerror", None) or error})', path)
            return None
        self._taken.add(_key(name))
        if name != os.path.basename(path):
            self._tally.add('a file name that had to change, as another image has it or text cannot hold it', path)
        return name

    def _free_name(self, path: str) -> str:
        """Return the file's name, with the names of the folders above it where another image has it."""
        # Bytes that are no UTF-8 have a place in a path, but none in a text file.
        text = os.fsencode(path).decode('utf-8', errors='replace')
        parts = [part for part in text.split(os.sep) if part]
        if not self._spaces:
            parts = ['_'.join(part.split()) for part in parts]
        for count in range(1, min(len(parts), 4) + 1):
            name = '_'.join(parts[-count:])
            if _key(name) not in self._taken:
                return name
        stem, suffix = os.path.splitext(parts[-1])
        number = 2
        while _key(f'{stem}-{number}') in self._taken:
            number += 1
        return f'{stem}-{number}{suffix}'


def _encoded(path: str) -> tuple[str, bytes | None]:
    """Return a name, and the contents of an image that a reader of a user's own reads; None for those of a file."""
    own = read_own(path)
    if own is None or isinstance(own, bytes) and has_image_suffix(path):
        return path, own
    stem = os.path.splitext(path)[0] if has_image_suffix(path) else path
    return f'{stem}.png', cv2.imencode('.png', read_image(path)[..., ::-1])[1].tobytes()


def _key(name: str) -> str:
    """Return what two names must differ in: label files are called as their image, and some systems know no case."""
    return unicodedata.normalize('NFC', os.path.splitext(name)[0]).casefold()


def _link(path: str, target: Path) -> bool:
    """Make a hard link to the file itself; return whether the file system does."""
    try:
        os.link(os.path.realpath(path), target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True
