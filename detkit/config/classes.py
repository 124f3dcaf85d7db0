"""Class names live with the data; the model's class count is wired from them, or checked against them."""

from pathlib import Path
from typing import Any

from detkit.config.origins import Origin, Origins, dotted
from detkit.config.signatures import arguments_of
from detkit.config.top_level import datasets_in
from detkit.utils.errors import ConfigError

_PATH = ('model', 'head', 'num_classes')


def wire_classes(values: dict[str, Any], origins: Origins, need_classes: bool = True) -> None:
    """Fill ``model.head.num_classes`` from the class names of the data, and compare all counts.

    Raises:
        ConfigError: head and data, or two datasets, differ in their class count; or no dataset says its classes
            (unless ``need_classes`` is False).
    """
    found = [
        (key, names)
        for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for names in _classes_of(values.get(key))
    ]
    if not found and values.get('classes'):
        found = [('classes', tuple(values['classes']))]
    model = values.get('model')
    head = model.get('head') if isinstance(model, dict) else None
    counts_classes = isinstance(head, dict) and _takes_num_classes(head)
    given = head.get('num_classes') if counts_classes else None
    if not found:
        if need_classes and counts_classes and given is None and values.get('train_dataloader'):
            raise _unknown_classes(values['train_dataloader'], origins.find(('train_dataloader', 'dataset')))
        return
    source, names = found[0]
    for other, other_names in found[1:]:
        if len(other_names) != len(names):
            raise ConfigError(
                f'{origins.find((other,))}: {other} has {len(other_names)} classes, but {source} '
                f'({origins.find((source,))}) has {len(names)}'
            )
    if not counts_classes:
        return
    if given is None:
        head['num_classes'] = len(names)
        origins.set(_PATH, origins.find((source,)))
    elif given != len(names):
        raise ConfigError(
            f'{origins.find(_PATH)}: {dotted(_PATH)} is {given}, but {source} ({origins.find((source,))}) names '
            f'{len(names)} classes; leave num_classes out, so that it follows the data'
        )


def _takes_num_classes(head: dict) -> bool:
    from detkit.registry import HEADS

    kind = head.get('type')
    arguments = arguments_of(HEADS.get(kind) if isinstance(kind, str) else kind)
    return arguments.any_name or 'num_classes' in arguments.names


def _unknown_classes(loader: dict, where: Origin) -> ConfigError:
    for dataset in datasets_in(loader):
        for key in ('data_yaml', 'ann_file', 'class_folder', 'folder'):
            if isinstance(dataset.get(key), str):
                root = dataset.get('data_root') or ''
                return ConfigError(
                    f'{where}: there is no {key} {dataset[key]!r}'
                    + (f' in {root!r}' if root else '')
                    + f', from which the class names would be read; set {key} to the file'
                )
    return ConfigError(
        f'{where}: train_dataloader.dataset does not say its classes, so {dotted(_PATH)} is unknown; '
        f'give it metainfo=dict(classes=[...])'
    )


def _classes_of(loader: Any) -> list[tuple[str, ...]]:
    """The class names of a loader's datasets, as far as the config or a file that it names gives them."""
    found = []
    for dataset in datasets_in(loader):
        if dataset.get('single_class'):
            found.append(('object',))
            continue
        names = (dataset.get('metainfo') or {}).get('classes') or _from_files(dataset)
        if names:
            found.append(tuple(names))
    return found


def _from_files(dataset: dict) -> tuple[str, ...] | None:
    """Class names of a data yaml, a COCO json, VOC's files or an image folder; None where there are none.

    The dataset says what is missing.
    """
    root = Path(dataset.get('data_root') or '')
    if isinstance(dataset.get('data_yaml'), str):
        from detkit.datasets.formats.data_yaml import read_data_yaml

        for path in (Path(dataset['data_yaml']), root / dataset['data_yaml']):
            if path.is_file():
                return read_data_yaml(path, root).classes
    if isinstance(dataset.get('ann_file'), str) and (root / dataset['ann_file']).is_file():
        from detkit.datasets.class_names import names_by_id
        from detkit.datasets.formats.coco_json import load_json

        categories = load_json(str(root / dataset['ann_file']))['categories']
        if dataset.get('keep_category_ids'):
            return names_by_id({category['id']: category['name'] for category in categories})
        return tuple(dict.fromkeys(category['name'] for category in categories))
    if dataset.get('type') == 'VOCDataset':
        return _from_voc(dataset, root)
    folder = dataset.get('class_folder') or dataset.get('folder')
    if isinstance(folder, str) and (root / folder).is_dir():
        from detkit.datasets.formats.image_folder import class_folders

        return tuple(dataset.get('folders') or class_folders(root / folder)) or None
    return None


def _from_voc(dataset: dict, root: Path) -> tuple[str, ...] | None:
    from detkit.datasets.formats.voc import discover_classes, find_split

    splits, annotations = dataset.get('splits'), dataset.get('annotations', 'Annotations')
    if annotations is None:
        return None
    splits = [splits] if isinstance(splits, str) else splits
    homes = [root] if splits is None else [find_split(root, split)[0] for split in splits]
    return discover_classes(home / annotations for home in homes) or None
