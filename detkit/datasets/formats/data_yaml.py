"""Data yamls: a dataset's folder, its splits and the names of its classes."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from detkit.datasets.path_finder import PathFinder
from detkit.datasets.skips import Skip
from detkit.structures.keypoints import check_shape
from detkit.utils.errors import ConfigError, DataError, absence, nearest, working_folder
from detkit.utils.front_end import changing, data_argument
from detkit.utils.home import with_home
from detkit.utils.text_files import read_text

_SPLITS = ('train', 'val', 'test')
# More classes or keypoints than any dataset has: a number beyond it is a slip, and would fill the memory.
_MOST = 100_000
# A yaml is read some hundred times slower than it is written; 100,000 names take a tenth of it.
_MAX_BYTES = 16 << 20
# Names that a message lists, and characters of a value that it shows.
_SHOWN = 10
_SHOWN_LENGTH = 60
_ARCHIVES = ('.zip', '.tar', '.gz', '.tgz', '.7z', '.rar')


@dataclass(frozen=True)
class DataYaml:
    """The contents of a data yaml.

    Attributes:
        file: the yaml itself.
        root: the folder that its paths are relative to.
        splits: what each part ('train', 'val', 'test') names, folders and image lists, as written.
        classes: the class names, or None where it gives none.
        keypoint_shape: (K, D), number of keypoints and values of each (``kpt_shape``), or None.
        flip_pairs: keypoints that are exchanged in a mirrored image (from ``flip_idx``), or None.
        keypoint_names: (``kpt_names``), or None.
        notes: keys that could not be followed to the letter.
        keys: all keys of the file, as written.
    """

    file: Path
    root: Path
    splits: dict[str, list[str]]
    classes: tuple[str, ...] | None
    keypoint_shape: tuple[int, int] | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    keypoint_names: tuple[str, ...] | None = None
    notes: tuple[Skip, ...] = ()
    keys: tuple[str, ...] = ()

    def sources(self, split: str) -> list[Path]:
        """Return the folders and image lists of a part.

        A path that is not there is read as other systems write it: with backslashes, in another case, or absolute on
        another machine. ``../train/images``, as some tools write it, may also mean a folder beside the yaml.

        Raises:
            DataError: there is no such part, or a path of it does not exist.
        """
        if not self.splits.get(split):
            raise DataError(
                f'the data yaml {str(self.file)!r} has no key {split!r} with a folder or a list; '
                f'it has {", ".join(self.splits) or "none of train, val, test"}.{self._hint_at(split)}'
                + f" Without a validation set, {changing('split', 0.8)} trains on 80 % of 'train', validates on others."
                * (split == 'val' and 'train' in self.splits)
            )
        finder = PathFinder(self.root)
        return [self._locate(finder, split, item) for item in self.splits[split]]

    def _hint_at(self, split: str) -> str:
        """Return a hint at the key of a part that is called otherwise, such as 'valid'."""
        others = [key for key in self.keys if key not in _SPLITS and key.lower().startswith(split[:3])]
        return f' The key {_show(others[0])} should be called {split}.' if others else nearest(split, self.splits)

    def _locate(self, finder: PathFinder, split: str, item: str) -> Path:
        found = finder.find_folder(item) or finder.find(item)
        if found is None:
            hint = ''
            if any(character in item for character in '*?['):
                hint = ' Patterns are not read: write the folder that holds the images.'
            raise DataError(
                f'the data yaml {str(self.file)!r} says {split}: {_show(item)}, but in {str(self.root)!r} there is no '
                f'such folder or image list.{hint} Correct this key, or path, or set data_root in the config of the '
                'dataset.'
            )
        if found.lower().endswith(_ARCHIVES) and os.path.isfile(found):
            raise DataError(
                f'the data yaml {str(self.file)!r} says {split}: {_show(item)}. Archives are not read: unpack it, and '
                'write the folder instead.'
            )
        return Path(found)


def read_data_yaml(path: str | Path, data_root: str | Path = '') -> DataYaml:
    """Read a data yaml. Words and numbers are taken as written: ``no`` is a name, not a truth value.

    Args:
        path: the file. Its key ``path`` is absolute, or relative to the file's folder; the folder itself where it is
            left out or does not exist there.
        data_root: replaces the file's ``path``.

    Raises:
        DataError: the file is missing, is no YAML mapping, or its class names or keypoints make no sense.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise DataError(
            f'the data yaml {str(path)!r} {absence(path)}{working_folder(path)}. Give the file as '
            f'{data_argument("data_yaml")}, or leave it out.'
        )
    return parse_data_yaml(read_text(path, 'data yaml', _MAX_BYTES), path, data_root)


def parse_data_yaml(text: str, path: str | Path, data_root: str | Path = '') -> DataYaml:
    """Parse the text of a data yaml, see ``read_data_yaml``; ``path`` is where it comes from."""
    path = Path(path)
    try:
        content = yaml.load(text, _TextLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an escape that is no character
        nested = isinstance(error, RecursionError)
        hint = ' Indent with spaces in place of tabs.' if '\t' in text else ''
        reason = 'it is nested too deeply' if nested else error
        raise DataError(f'the data yaml {str(path)!r} is no valid YAML: {reason}.{hint}') from error
    if not isinstance(content, dict):
        raise DataError(f'the data yaml {str(path)!r} should be a mapping with the keys path, train, val and names')
    root, notes = (Path(data_root), ()) if data_root else _find_root(path, content.get('path'))
    splits = {key: _read_split(path, key, content[key]) for key in _SPLITS if not _is_null(content.get(key))}
    classes = _read_names(path, root, content)
    return DataYaml(
        path, root, splits, classes, *_read_keypoints(path, content), notes, tuple(filter(_is_name, content))
    )


class _TextLoader(yaml.BaseLoader):
    """Reads all values as the text that was written, and refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in mapping:
                problem = 'found a key twice' if isinstance(key, Hashable) else 'found a key that is no word or number'
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


def _is_null(value: Any) -> bool:
    return value is None or value in ('', '~', 'null', 'Null', 'NULL')


def _show(value: Any) -> str:
    """Return a value for a message; what holds others is named alone, as it may be endless."""
    if isinstance(value, str):
        short = value if len(value) <= _SHOWN_LENGTH else f'{value[:_SHOWN_LENGTH]}...'
        return ''.join(character if character.isprintable() else ascii(character)[1:-1] for character in short)
    return 'a mapping' if isinstance(value, dict) else 'a list of lists' if _is_nested(value) else 'a list'


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, list) for item in value)


def _refuse(path: Path, key: str, value: Any, expected: str) -> NoReturn:
    raise DataError(f'the data yaml {str(path)!r} says {key}: {_show(value)}, but {expected}')


def _is_name(value: Any) -> bool:
    """Return whether a value is a text to print: not blank, without control characters and surrogates."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any(unicodedata.category(character) in ('Cc', 'Cs') for character in value)
    )


def _whole(value: Any) -> int | None:
    """Return a whole number that a text gives, None for anything else."""
    return int(value) if isinstance(value, str) and re.fullmatch('[0-9]{1,9}', value) else None


def _find_root(path: Path, given: Any) -> tuple[Path, tuple[Skip, ...]]:
    if _is_null(given):
        return path.parent, ()
    if not isinstance(given, str):
        _refuse(path, 'path', given, 'it should be one folder')
    found = PathFinder(path.parent).find_folder(with_home(given))
    if found is not None:
        return Path(found), ()
    reason = f'key path: there is no folder {_show(given)}, so paths start from the folder of the yaml'
    kind = 'key path names a folder that does not exist, so paths start from the folder of the yaml'
    return path.parent, (Skip(str(path), 'path', reason, kind),)


def _read_split(path: Path, key: str, value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item for item in items):
        _refuse(path, key, value, 'it should be a folder, an image list, or a list of them')
    return with_home(items)


def _read_names(path: Path, root: Path, content: dict) -> tuple[str, ...] | None:
    names, nc = content.get('names'), content.get('nc')
    count = None
    if not _is_null(nc):
        count = _whole(nc)
        if count is None or not 0 < count <= _MOST:
            _refuse(path, 'nc', nc, f'it should be the number of classes, 1 to {_MOST}; or leave it out')
    if _is_null(names):
        return None if count is None else tuple(f'class_{i}' for i in range(count))
    if isinstance(names, str):
        names = _read_names_file(path, root, names)
    elif isinstance(names, dict):
        names = _in_order(path, names)
    if not names:
        _refuse(path, 'names', names, 'it should list at least one class')
    for number, name in enumerate(names):
        if not _is_name(name):
            _refuse(path, f'names[{number}]', name, 'each class needs a name')
    names = [name.strip() for name in names]
    if count is not None and count != len(names):
        raise DataError(
            f'the data yaml {str(path)!r} says nc: {count}, but names {len(names)} classes'
            '; correct one of them, or leave nc out'
        )
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            raise DataError(
                f'the data yaml {str(path)!r} names the classes {first[name]} and {number} both {_show(name)}; give '
                'each class a name of its own'
            )
    return tuple(names)


def _read_names_file(path: Path, root: Path, given: str) -> list[str]:
    found = PathFinder(path.parent, root).find(given)
    if found is None or not os.path.isfile(found):
        _refuse(
            path,
            'names',
            given,
            f'it should be a list ([{_show(given)}] for one class) or a text file of one name a line',
        )
    return [line.strip() for line in read_text(found, 'file of class names').rstrip().splitlines()]


def _in_order(path: Path, names: dict) -> list[Any]:
    numbers = {_whole(key): name for key, name in names.items()}
    if sorted(number for number in numbers if number is not None) != list(range(len(names))):
        shown = ', '.join(map(_show, list(names)[:_SHOWN])) + (', ...' if len(names) > _SHOWN else '')
        one_based = set(numbers) == set(range(1, len(names) + 1))
        hint = '. Class ids of YOLO labels count from 0' if one_based else ''
        raise DataError(
            f'the names in {str(path)!r} have the keys {shown}; expected is each whole number from 0 to '
            f'{len(names) - 1}{hint}'
        )
    return [numbers[i] for i in range(len(names))]


def _read_keypoints(
    path: Path, content: dict
) -> tuple[tuple[int, int] | None, tuple[tuple[int, int], ...] | None, tuple[str, ...] | None]:
    """Return shape, pairs and names of the keypoints."""
    given = content.get('kpt_shape')
    if _is_null(given):
        return None, None, None
    numbers = [_whole(item) for item in given] if isinstance(given, list) else []
    if len(numbers) != 2 or None in numbers or numbers[0] > _MOST:
        _refuse(path, 'kpt_shape', given, 'it should be [number of keypoints, 2 or 3 values of each]')
    try:
        shape = check_shape(numbers, f'kpt_shape in {str(path)!r}')
    except ConfigError as error:
        raise DataError(str(error)) from error
    pairs = _read_flips(path, content.get('flip_idx'), shape[0])
    names = content.get('kpt_names')
    if isinstance(names, dict):  # one list a class, all alike
        names = next(iter(names.values()), None)
    if _is_null(names):
        return shape, pairs, None
    if not isinstance(names, list) or len(names) != shape[0] or not all(map(_is_name, names)):
        raise DataError(f'kpt_names in {str(path)!r} should list {shape[0]} names, as kpt_shape says')
    return shape, pairs, tuple(names)


def _read_flips(path: Path, given: Any, num_keypoints: int) -> tuple[tuple[int, int], ...] | None:
    if _is_null(given):
        return None
    flip = [_whole(item) for item in given] if isinstance(given, list) else []
    is_order = None not in flip and sorted(flip) == list(range(num_keypoints))
    if not is_order or any(flip[other] != number for number, other in enumerate(flip)):
        raise DataError(
            f'flip_idx in {str(path)!r} must say for each of the {num_keypoints} keypoints which one it becomes in a '
            'mirrored image, such that a second mirroring restores it'
        )
    return tuple((number, other) for number, other in enumerate(flip) if number < other)
