"""Class names live with the data; the model's class count is wired from them, or checked against them."""

from typing import Any

from detkit.config.origins import Origins, dotted
from detkit.config.top_level import datasets_in
from detkit.utils.errors import ConfigError


def wire_classes(values: dict[str, Any], origins: Origins) -> None:
    """Fill ``model.head.num_classes`` from the class names of the training data, and compare all counts.

    Raises:
        ConfigError: head and data, or two data sets, differ in their class count.
    """
    found = [(key, names) for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')
             for names in _classes_of(values.get(key))]
    if values.get('classes') is not None:
        found.insert(0, ('classes', tuple(values['classes'])))
    if not found:
        return
    source, names = found[0]
    for other, other_names in found[1:]:
        if len(other_names) != len(names):
            raise ConfigError(f'{origins.find((other,))}: {other} has {len(other_names)} classes, but {source} '
                              f'({origins.find((source,))}) has {len(names)}')
    head = (values.get('model') or {}).get('head')
    if not isinstance(head, dict):
        return
    path = ('model', 'head', 'num_classes')
    given = head.get('num_classes')
    if given is None:
        head['num_classes'] = len(names)
        origins.set(path, origins.find((source,)))
    elif given != len(names):
        raise ConfigError(
            f'{origins.find(path)}: {dotted(path)} is {given}, but {source} ({origins.find((source,))}) names '
            f'{len(names)} classes; leave num_classes out, so that it follows the data')


def _classes_of(loader: Any) -> list[tuple[str, ...]]:
    """The class names in the configs of a loader's data sets; sets that read theirs from a file are left out."""
    found = []
    for dataset in datasets_in(loader):
        names = (dataset.get('metainfo') or {}).get('classes')
        if names is not None:
            found.append(('object',) if dataset.get('single_class') else tuple(names))
    return found
