"""Which classes are stuff (sky, grass) is known to the data; a panoptic head's ``stuff_labels`` are wired from them."""

from pathlib import Path
from typing import Any

from detkit.config.origins import Origins, dotted
from detkit.config.signatures import arguments_of
from detkit.config.top_level import datasets_in
from detkit.utils.errors import ConfigError

_LABELS = ('model', 'head', 'stuff_labels')


def wire_stuff(values: dict[str, Any], origins: Origins) -> None:
    """Fill ``model.head.stuff_labels`` from the data, or compare the two.

    Nothing is done for a head that has none, nor where neither config nor files say what the data have.

    Raises:
        ConfigError: head and data, or two datasets, differ.
    """
    head = (values.get('model') or {}).get('head')
    if not isinstance(head, dict) or not _takes_labels(head.get('type')):
        return
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in datasets_in(values.get(loader)):
            labels = _stuff_labels(dataset)
            if labels is None:
                continue
            given = head.get('stuff_labels')
            if given is None:
                head['stuff_labels'] = labels
                origins.set(_LABELS, origins.find((loader,)))
            elif sorted(given) != sorted(labels):
                raise ConfigError(
                    f'{origins.find(_LABELS)}: {dotted(_LABELS)} has {len(given)} labels, but other ones are stuff in '
                    f'{loader} ({origins.find((loader,))}), of which there are {len(labels)}; leave stuff_labels out, '
                    'so that it follows the data'
                )


def _takes_labels(kind: Any) -> bool:
    from detkit.registry import HEADS

    factory = HEADS.get(kind) if isinstance(kind, str) else kind
    return callable(factory) and 'stuff_labels' in arguments_of(factory).names


def _stuff_labels(dataset: dict) -> tuple[int, ...] | None:
    """Of a dataset, as far as the config or the json that it names says so; None for one without ``isthing``."""
    metainfo = dataset.get('metainfo') or {}
    if metainfo.get('stuff_labels') is not None:
        return tuple(metainfo['stuff_labels'])
    path = Path(dataset.get('data_root') or '') / str(dataset.get('ann_file'))
    if dataset.get('type') != 'CocoPanopticDataset' or not path.is_file():
        return None
    from detkit.datasets.formats.coco_json import load_json
    from detkit.datasets.formats.coco_panoptic import stuff_labels_of

    categories = load_json(str(path))['categories']
    names = metainfo.get('classes') or [entry['name'] for entry in sorted(categories, key=lambda entry: entry['id'])]
    keeps_ids = dataset.get('keep_category_ids')
    labels = {
        entry['id']: entry['id'] if keeps_ids else list(names).index(entry['name'])
        for entry in categories
        if keeps_ids or entry['name'] in names
    }
    return stuff_labels_of(categories, labels, str(path))
