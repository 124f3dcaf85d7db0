"""Class names of one dataset as those of another: renamed, merged, left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detkit.datasets.class_names import UNUSED_CLASS
from detkit.datasets.own_datasets import peek_own
from detkit.registry import DATASETS, is_own
from detkit.utils.errors import ConfigError, nearest, shorten

__all__ = ['label_table', 'map_classes', 'peek_dataset', 'relabel_metainfo', 'union']

# The key of a class map that stands for all names that the map does not have.
_OTHERS = '*'


def map_classes(
    classes: Sequence[str], class_map: Mapping[str, str | None], source: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names that a class map gives classes, in order of first appearance, and the new label of each.

    Args:
        classes: the names in the files.
        class_map: the new name of each, None to leave its objects out; a class without an entry keeps its name, or
            takes the value of ``'*'``.
        source: the name of the dataset in messages.

    Returns:
        The names, and ``(len(classes),)`` int64 labels, -1 for the classes left out.

    Raises:
        ConfigError: the map has a name that is no class, or leaves no class.
    """
    for name, value in class_map.items():
        if name not in classes and name != _OTHERS:
            raise ConfigError(
                f'class_map of {source} has the name {name!r}, which is none of its {len(classes)} classes '
                f'({shorten(classes, 5)}).{nearest(name, classes)}'
            )
        if value is not None and not isinstance(value, str):
            raise ConfigError(f'class_map of {source} gives {name!r} the name {value!r}; write a text, or None')
    new = [class_map.get(name, class_map.get(_OTHERS, name)) for name in classes]
    names = union([[name for name in new if name is not None]])
    if not names:
        raise ConfigError(f'class_map of {source} leaves none of its classes ({shorten(classes, 5)})')
    return names, np.array([-1 if name in (None, UNUSED_CLASS) else names.index(name) for name in new], np.int64)


def union(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the names of several datasets in order of first appearance; names of unused ids count for nothing."""
    if parts and all(tuple(part) == tuple(parts[0]) for part in parts) and UNUSED_CLASS in parts[0]:
        return tuple(parts[0])  # labels that are category ids stay so
    return tuple(dict.fromkeys(name for part in parts for name in part if name != UNUSED_CLASS))


def label_table(classes: Sequence[str], whole: Sequence[str], source: str) -> np.ndarray:
    """Return ``(len(classes),)`` int64: the label that each class has in a list that holds all of them.

    Raises:
        ConfigError: a class is not in the list; ``source`` names the dataset.
    """
    labels = {name: label for label, name in reversed(list(enumerate(whole)))}
    for name in classes:
        if name not in labels and name != UNUSED_CLASS:
            raise ConfigError(
                f'the class {name!r} of {source} is none of the {len(whole)} classes of the whole '
                f'({shorten(whole, 5)}).{nearest(name, whole)} Map it in the config of the dataset, '
                f"class_map={{{name!r}: 'name'}}, or leave its objects out, class_map={{{name!r}: None}}."
            )
    return np.array([labels.get(name, -1) for name in classes], np.int64)


def relabel_metainfo(metainfo: Mapping[str, Any], classes: Sequence[str], table: np.ndarray) -> dict[str, Any]:
    """Return meta information for other labels.

    Args:
        metainfo: of the dataset as it was.
        classes: the new names.
        table: ``(number of former classes,)`` the new label of each, -1 where it is left out.

    Raises:
        ConfigError: stuff and things have become one class.
    """
    changed = {**metainfo, 'classes': tuple(classes)}
    ids = changed.pop('category_ids', None)
    # Each new class is one former class, others may have been left out; what is merged or of another dataset has no id.
    if ids is not None and sorted(table[table >= 0].tolist()) == list(range(len(classes))):
        changed['category_ids'] = tuple(ids[former] for former in np.argsort(table) if table[former] >= 0)
    stuff = changed.pop('stuff_labels', None)
    if stuff is not None:
        new = {int(table[label]) for label in stuff if table[label] >= 0}
        both = new & {int(table[label]) for label in set(range(len(table))) - set(stuff)}
        if both:
            raise ConfigError(f'the class {classes[min(both)]!r} is a thing and stuff: give each a name of its own')
        changed['stuff_labels'] = tuple(sorted(new))
    return changed


def peek_dataset(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metainfo that a dataset's config, and the headers of the files that it names, contain.

    Raises:
        ConfigError: its ``class_map`` does not fit its classes, or a user's own class returns no dict.
        DataError: the file that names the classes is missing or wrong.
    """
    kind = cfg.get('type')
    factory = DATASETS.get(kind) if isinstance(kind, str) else kind
    known = peek_own(factory, cfg) if is_own(factory) else factory.peek(cfg)
    class_map, classes = cfg.get('class_map'), known.get('classes')
    if not class_map or not classes or not isinstance(class_map, Mapping) or cfg.get('single_class'):
        return known
    return relabel_metainfo(known, *map_classes(classes, class_map, str(kind)))
