"""Finding the files that lists and annotations name, as other programs and other machines wrote them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import PureWindowsPath
from urllib.parse import unquote


class PathFinder:
    r"""Finds files by the names that a dataset's files give.

    A name is tried as it is, and where there is no such file: with ``\`` read as ``/``, with ``%20`` and the like
    decoded, without regard to case and Unicode composition, from one folder lower or higher, and, where it comes from
    another machine or names folders that are not there, by its last folders alone. No file is found by two such names.

    Args:
        *roots: folders that relative names start from, in the order in which they are tried.
    """

    def __init__(self, *roots: str | os.PathLike) -> None:
        self.roots = [os.fspath(root) or '.' for root in roots]
        self._listed: dict[str, set[str]] = {}
        self._alike: dict[str, dict[str, str]] = {}
        self._names: dict[str, str] = {}  # of the files found, the name each was found by

    def find(self, name: str) -> str | None:
        """Return the path of the file that ``name`` means, None where there is none."""
        if './' in name or '//' in name:  # so that a file has one path, however it is named
            first, *rest = name.split('/')
            name = '/'.join([first] * (first != '.') + [part for part in rest if part not in ('', '.')])
        for root in self.roots:
            path = os.path.join(root, name)
            folder, base = os.path.split(path)
            if base in self._list(folder):
                self._names[path] = name
                return path
        for variant in _variants(name):
            for root in self.roots:
                path = self._find_alike(root, variant)
                if path is not None and self._names.setdefault(path, name) == name:
                    return path
        return None

    def find_folder(self, name: str) -> str | None:
        """Return the path of the folder that ``name`` means, None where there is none.

        Folders have names like ``images`` that occur all over a dataset, so none is found by the last part of a path
        alone: a path of another machine must agree in its last two.
        """
        for root in self.roots:
            path = os.path.join(root, name)
            if os.path.isdir(path):
                return path
        for variant in _variants(name):
            parts = _parts(variant)
            ends = range(max(1, len(parts) - 1)) if _is_absolute(variant) else (0,)
            for root in self.roots:
                found = (self._walk(root, parts[number:], os.path.isdir) for number in ends if parts)
                path = next((path for path in found if path is not None), None)
                if path is not None:
                    return path
        return None

    def _find_alike(self, root: str, name: str) -> str | None:
        """Look for ``name`` and its shorter and shorter ends below ``root``, then for the whole in the folder above."""
        parts = _parts(name)
        starts = [('/', parts)] if os.path.isabs(name) else []
        starts += [(root, parts[number:]) for number in range(len(parts))]
        if not _is_absolute(name):
            above = os.path.dirname(os.path.abspath(root))
            starts += [(folder, parts) for folder in (above, *self._folders_in(root))]
        found = (self._walk(folder, rest) for folder, rest in starts)
        return next((path for path in found if path is not None), None)

    def _walk(self, root: str, parts: list[str], wanted: Callable[[str], bool] = os.path.isfile) -> str | None:
        path = root
        for part in parts:
            found = part if part in self._list(path) else self._list_alike(path).get(_key(part))
            if found is None:
                return None
            path = os.path.join(path, found)
        return path if wanted(path) else None

    def _list(self, folder: str) -> set[str]:
        """Return the names in a folder."""
        names = self._listed.get(folder)
        if names is None:
            try:
                names = set(os.listdir(folder or '.'))
            except (OSError, ValueError):  # missing, no folder, or not to be read: it holds nothing for us
                names = set()
            self._listed[folder] = names
        return names

    def _list_alike(self, folder: str) -> dict[str, str]:
        """Return the names in a folder by ``_key``."""
        if folder not in self._alike:
            self._alike[folder] = {_key(name): name for name in sorted(self._list(folder), reverse=True)}
        return self._alike[folder]

    def _folders_in(self, root: str) -> list[str]:
        return [path for name in sorted(self._list(root)) if os.path.isdir(path := os.path.join(root, name))]


def _variants(name: str) -> list[str]:
    """Return the readings of a name, the least far-fetched first."""
    slashed = name.strip().replace('\\', '/')
    return list(dict.fromkeys((name, slashed, unquote(slashed))))


def _parts(name: str) -> list[str]:
    return [part for part in name.split('/') if part not in ('', '.', '..')]


def _is_absolute(name: str) -> bool:
    """Return whether a path is absolute on this system or on Windows."""
    return os.path.isabs(name) or bool(PureWindowsPath(name).drive)


def _key(name: str) -> str:
    return unicodedata.normalize('NFC', name).casefold()
