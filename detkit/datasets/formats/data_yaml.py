"""The ``data.yaml`` that describes a YOLO dataset: the folders of its splits and the names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detkit.structures.keypoints import check_shape
from detkit.utils.errors import ConfigError, DataError, nearest


@dataclass(frozen=True)
class DataYaml:
    """The contents of a data yaml.

    Attributes:
        root: the folder that its paths are relative to.
        splits: the folders and image lists of each part ('train', 'val', ...), as absolute or ``root`` based paths.
        classes: the class names, or None where it gives none.
        keypoint_shape: (K, D), number of keypoints and values of each (``kpt_shape``), or None.
        flip_pairs: keypoints that are exchanged in a mirrored image (from ``flip_idx``), or None.
        keypoint_names: (``kpt_names``), or None.
    """

    root: Path
    splits: dict[str, list[Path]]
    classes: tuple[str, ...] | None
    keypoint_shape: tuple[int, int] | None = None
    flip_pairs: tuple[tuple[int, int], ...] | None = None
    keypoint_names: tuple[str, ...] | None = None


def read_data_yaml(path: str | Path, data_root: str | Path = '') -> DataYaml:
    """Read a data yaml.

    Args:
        path: the file. Its key ``path`` is absolute, or relative to the file's folder; the folder itself where it is
            left out or does not exist there.
        data_root: replaces the file's ``path``.

    Raises:
        DataError: the file is missing, is no YAML mapping, or its class names or keypoints make no sense.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f'the data yaml {str(path)!r} does not exist. Set data_yaml to the file, or leave it out.')
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f'the data yaml {str(path)!r} is no valid YAML: {error}') from error
    if not isinstance(content, dict):
        raise DataError(f'the data yaml {str(path)!r} should be a mapping with the keys path, train, val and names')
    root = Path(data_root) if data_root else _find_root(path, content.get('path'))
    splits = {
        key: [_locate(root, item) for item in ([value] if isinstance(value, str) else value)]
        for key, value in content.items()
        if key in ('train', 'val', 'test') and value
    }
    return DataYaml(root, splits, _read_names(path, content), *_read_keypoints(path, content))


def split_paths(data: DataYaml, split: str, path: str | Path) -> list[Path]:
    """Return the folders and lists of one part.

    Raises:
        DataError: there is no such part.
    """
    if split not in data.splits:
        raise DataError(
            f'the data yaml {str(path)!r} has no key {split!r} with a folder or a list; '
            f'it has {", ".join(data.splits) or "none of train, val, test"}.{nearest(split, data.splits)}'
        )
    return data.splits[split]


def _find_root(path: Path, given: Any) -> Path:
    if not given:
        return path.parent
    root = path.parent / str(given)  # an absolute path stays as it is
    return root if root.is_dir() else path.parent


def _locate(root: Path, item: str) -> Path:
    """Return the path; ``../train/images``, as some tools write it, may also mean a folder beside the yaml."""
    located = root / item
    if not located.exists() and item.startswith('../') and (root / item[3:]).exists():
        return root / item[3:]
    return located


def _read_names(path: Path, content: dict) -> tuple[str, ...] | None:
    names = content.get('names')
    count = content.get('nc')
    if names is None:
        return None if count is None else tuple(f'class_{i}' for i in range(int(count)))
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(
                f'the names in {str(path)!r} have the keys {sorted(names, key=str)}; expected is each whole number '
                f'from 0 to {len(names) - 1}'
            )
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f'the names in {str(path)!r} should be a list, or a mapping of 0, 1, ... to a name')
    if count is not None and count != len(names):
        raise DataError(f'{str(path)!r} says nc: {count}, but names {len(names)} classes')
    return tuple(map(str, names))


def _read_keypoints(
    path: Path, content: dict
) -> tuple[tuple[int, int] | None, tuple[tuple[int, int], ...] | None, tuple[str, ...] | None]:
    """Return shape, pairs and names of the keypoints."""
    if content.get('kpt_shape') is None:
        return None, None, None
    try:
        shape = check_shape(content['kpt_shape'], f'kpt_shape in {str(path)!r}')
    except ConfigError as error:
        raise DataError(str(error)) from error
    flip, pairs = content.get('flip_idx'), None
    if flip is not None:
        numbers = list(range(shape[0]))
        if (
            not isinstance(flip, list)
            or sorted(map(str, flip)) != sorted(map(str, numbers))
            or any(flip[flip[i]] != i for i in numbers)
        ):
            raise DataError(
                f'flip_idx in {str(path)!r} is {flip}, but must say for each of the {shape[0]} keypoints which one it '
                'becomes in a mirrored image, such that a second mirroring restores it'
            )
        pairs = tuple((i, flip[i]) for i in numbers if i < flip[i])
    names = content.get('kpt_names')
    names = next(iter(names.values()), None) if isinstance(names, dict) else names  # one list a class, all alike
    if names is not None and (not isinstance(names, list) or len(names) != shape[0]):
        raise DataError(f'kpt_names in {str(path)!r} should list {shape[0]} names, as kpt_shape says, found {names}')
    return shape, pairs, None if names is None else tuple(map(str, names))
