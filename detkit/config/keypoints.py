"""How many keypoints there are is known to the data; a pose head's shape and sigmas are wired from them."""

from pathlib import Path
from typing import Any

from detkit.config.origins import Origins, dotted
from detkit.config.signatures import arguments_of
from detkit.config.top_level import datasets_in
from detkit.utils.errors import ConfigError

_SHAPE = ('model', 'head', 'keypoint_shape')
_SIGMAS = ('model', 'head', 'loss_keypoint', 'sigmas')


def wire_keypoints(values: dict[str, Any], origins: Origins) -> None:
    """Fill ``model.head.keypoint_shape`` from the data, or compare the two, and the loss's ``sigmas``.

    Nothing is done for a head that has no keypoints, nor where neither config nor files say what the data have.

    Raises:
        ConfigError: head and data, or two datasets, differ.
    """
    head = (values.get('model') or {}).get('head')
    if not isinstance(head, dict) or not _has_keypoints(head.get('type')):
        return
    datasets = [
        (loader, dataset)
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for dataset in datasets_in(values.get(loader))
    ]
    shapes = [(loader, shape) for loader, dataset in datasets if (shape := _shape_of(dataset))]
    for loader, shape in shapes:
        given = head.get('keypoint_shape')
        if given is None:
            head['keypoint_shape'] = shape
            origins.set(_SHAPE, origins.find((loader,)))
        elif tuple(given) != shape:
            raise ConfigError(
                f'{origins.find(_SHAPE)}: {dotted(_SHAPE)} is {tuple(given)}, but {loader} ({origins.find((loader,))}) '
                f'has {shape[0]} keypoints of {shape[1]} values; leave keypoint_shape out, so that it follows the data'
            )
    loss = head.get('loss_keypoint')
    for loader, dataset in datasets:
        sigmas = (dataset.get('metainfo') or {}).get('sigmas')
        if sigmas and isinstance(loss, dict) and loss.get('sigmas') is None:
            loss['sigmas'] = tuple(sigmas)
            origins.set(_SIGMAS, origins.find((loader,)))


def _has_keypoints(kind: Any) -> bool:
    from detkit.registry import HEADS

    factory = HEADS.get(kind) if isinstance(kind, str) else kind
    return callable(factory) and 'keypoint_shape' in arguments_of(factory).names


def _shape_of(dataset: dict) -> tuple[int, int] | None:
    """(K, values of each) of a dataset, as far as the config or a file that it names says so."""
    if dataset.get('keypoint_shape'):
        return tuple(dataset['keypoint_shape'])
    root = Path(dataset.get('data_root') or '')
    if dataset.get('labels') == 'pose' and isinstance(dataset.get('data_yaml'), str):
        from detkit.datasets.formats.data_yaml import read_data_yaml

        for path in (Path(dataset['data_yaml']), root / dataset['data_yaml']):
            if path.is_file():
                return read_data_yaml(path, root).keypoint_shape
    if dataset.get('keypoints') and isinstance(dataset.get('ann_file'), str):
        if (root / dataset['ann_file']).is_file():
            from detkit.datasets.formats.coco_json import load_json

            categories = load_json(str(root / dataset['ann_file']))['categories']
            classes = (dataset.get('metainfo') or {}).get('classes')
            counts = {
                len(category['keypoints'])
                for category in categories
                if category.get('keypoints') and (not classes or category.get('name') in classes)
            }
            return (counts.pop(), 3) if len(counts) == 1 else None
    return None
