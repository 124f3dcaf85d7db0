"""Wiring of the model's head from the data: class count, keypoints, stuff classes.

No data format is known here: each dataset class has a method ``peek`` that returns the metainfo of its config.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from detkit.config.keys import LOADER_KEYS
from detkit.config.origins import KeyPath, Origins, dotted
from detkit.config.signatures import arguments_of
from detkit.config.top_level import dataset_paths, head_takes, takes_image_size
from detkit.datasets.class_map import peek_dataset
from detkit.datasets.class_names import refuse_repeated
from detkit.registry import DATASETS, DETECTORS, HEADS
from detkit.utils.errors import ConfigError, DataError, nearest, nearest_first, shorten

_HEAD = ('model', 'head')
_CLASSES = (*_HEAD, 'num_classes')
# The number of names that an error shows, and of those that it lists as the remedy.
_SHOWN = 5
_MOST_LISTED = 20


def wire_from_data(values: dict[str, Any], origins: Origins, need_classes: bool = True) -> None:
    """Fill in what the model's head takes from the data where the config leaves it out, and compare it where not.

    Args:
        values: the config, changed in place.
        origins: where its values were set.
        need_classes: whether class names that cannot be found are an error.

    Raises:
        ConfigError: head and data, or two datasets, differ; or no dataset says its classes.
    """
    _check_parts(values, origins)
    known, unknown = _peek_all(values, origins)
    for path, metainfo in known:
        is_given = bool((values[path[0]]['dataset'].get('metainfo') or {}).get('classes'))
        _check_classes(metainfo.get('classes'), path, origins, is_given)
    _wire_classes(values, known, origins)
    _wire_class_names(values, known, origins)
    if not (values.get('model') or {}).get('head'):
        return
    if need_classes and counts_classes(values) and values['model']['head'].get('num_classes') is None:
        _refuse_unknown_classes(values, unknown, origins)
    _wire_argument(values, 'keypoint_shape', known, origins)
    _wire_argument(values, 'stuff_labels', known, origins)
    _wire_sigmas(values, known, origins)
    if (
        takes_image_size(values)
        and 'img_size' not in values['model']['head']
        and isinstance(values.get('img_size'), int)
    ):
        values['model']['head']['img_size'] = values['img_size']
        origins.set((*_HEAD, 'img_size'), origins.find(('img_size',)))


def data_metainfo(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the data of a config say of themselves, from the first dataset that names its classes.

    Nothing is built, and no annotation is read but what names the classes. A config without datasets may state
    ``classes`` itself.

    Raises:
        ConfigError: no dataset names its classes, and the config does not state them.
    """
    known, unknown = _peek_all(config)
    found = next((metainfo for _, metainfo in known if metainfo.get('classes')), None)
    if found is None and config.get('classes'):
        found = {'classes': config['classes']}
    if found is None:
        reasons = ''.join(f': {reason}' for _, reason in unknown[:1])
        raise ConfigError(
            f'the class names are unknown{reasons}. Give the data that name them (data_yaml=..., data_root=...), the '
            "names (classes=['bolt', 'nut']) where the config has this variable, or a checkpoint, which holds them"
        )
    return found


def _peek_all(
    values: Mapping[str, Any], origins: Origins | None = None
) -> tuple[list[tuple[KeyPath, dict]], list[tuple[KeyPath, str]]]:
    """Return the metainfo of each loader's dataset, and the reasons why that of others cannot be read.

    Datasets behind a wrapper may have other classes each; the model sees those of the whole.
    """
    known, unknown = [], []
    for key in LOADER_KEYS:
        loader, path = values.get(key), (key, 'dataset')
        dataset = loader.get('dataset') if isinstance(loader, Mapping) else None
        if isinstance(dataset, Mapping):
            try:
                known.append((path, peek_dataset(dataset)))
            except DataError as error:
                unknown.append((path, str(error)))
            except ConfigError as error:
                where = f'{origins.find(path)}: ' if origins else ''
                raise ConfigError(f'{where}{dotted(path)}: {error}') from error
    return known, unknown


def _check_parts(values: Mapping[str, Any], origins: Origins) -> None:
    """Refuse keys of metainfo that no dataset reads, and names of classes that are none in those behind a wrapper."""
    for key in LOADER_KEYS:
        for path, dataset in dataset_paths(values.get(key), (key,)):
            metainfo = dataset.get('metainfo')
            if not isinstance(metainfo, Mapping):
                continue
            _check_metainfo_keys(metainfo, dataset['type'], path, origins)
            if path != (key, 'dataset'):
                _check_classes(metainfo.get('classes'), path, origins, is_given=True)


@runtime_checkable
class _ListsMetainfo(Protocol):
    """A dataset's class that says which keys of ``metainfo`` it reads; one of a user's own need not."""

    metainfo_keys: Collection[str]


def _check_metainfo_keys(metainfo: Mapping[str, Any], name: str, path: KeyPath, origins: Origins) -> None:
    dataset = DATASETS.get(name)
    if not isinstance(dataset, _ListsMetainfo):
        return
    keys = dataset.metainfo_keys
    for key in metainfo:
        if key not in keys:
            here = (*path, 'metainfo', key)
            raise ConfigError(
                f'{origins.find(here)}: {dotted(here)}: {name} reads no {key!r} of metainfo; it takes '
                f'{nearest_first(key, keys)}.{nearest(str(key).lower(), keys)}'
            )


def _check_classes(classes: Any, path: KeyPath, origins: Origins, is_given: bool) -> None:
    """Refuse what is no list of different names, given by the config of the dataset at ``path`` or by its files."""
    key = (*path, 'metainfo', 'classes')
    if isinstance(classes, str):
        raise ConfigError(
            f'{origins.find(key)}: {dotted(key)} is {classes!r}, but must be a list of names; write ({classes!r},)'
        )
    if classes is not None and not all(isinstance(name, str) for name in classes):
        wrong = next(name for name in classes if not isinstance(name, str))
        raise ConfigError(f'{origins.find(key)}: {dotted(key)} holds {wrong!r}, but must be a list of names')
    if classes is not None and not classes:
        raise ConfigError(f'{origins.find(key)}: {dotted(key)} is empty; write the names of the classes')
    try:
        refuse_repeated(classes or (), dotted(key if is_given else path))
    except DataError as error:
        raise ConfigError(f'{origins.find(key)}: {error}') from error


def _wire_classes(values: dict[str, Any], known: list[tuple[KeyPath, dict]], origins: Origins) -> None:
    named = [(path[:1], tuple(metainfo['classes'])) for path, metainfo in known if metainfo.get('classes')]
    if not named and values.get('classes'):
        named = [(('classes',), tuple(values['classes']))]
    if not named:
        return
    source, classes = named[0]
    count = len(classes)
    for other, other_classes in named[1:]:
        if other_classes != classes:
            raise ConfigError(
                f'{origins.find(other)}: {_compare_classes(dotted(other), other_classes, dotted(source), classes)} '
                f'({dotted(source)} is of {origins.find(source)})'
            )
    if not counts_classes(values):
        return
    head = values['model']['head']
    if head.get('num_classes') is None:
        head['num_classes'] = count
        origins.set(_CLASSES, origins.find(source))
    elif head['num_classes'] != count:
        raise ConfigError(
            f'{origins.find(_CLASSES)}: {dotted(_CLASSES)} is {head["num_classes"]}, but {dotted(source)} '
            f'({origins.find(source)}) names {count} classes; leave num_classes out, so that it follows the data'
        )


def _compare_classes(name: str, classes: Sequence[str], other: str, other_classes: Sequence[str]) -> str:
    """Return how the classes of a loader's data differ from another's, and what to write."""
    whole = tuple(dict.fromkeys((*other_classes, *classes)))
    more, fewer = (
        [own for own in whole if own in these and own not in those]
        for these, those in ((classes, other_classes), (other_classes, classes))
    )
    if more or fewer:
        parts = [f'adds {shorten(map(repr, more), _SHOWN)}'] if more else []
        parts += [f'lacks {shorten(map(repr, fewer), _SHOWN)}'] if fewer else []
        found = f'has {len(classes)} classes, but {other} has {len(other_classes)}'
        if len(classes) == len(other_classes):
            found = f'has other classes than {other}'
        found += f': it {" and ".join(parts)}'
    else:
        label = next(i for i, (own, theirs) in enumerate(zip(classes, other_classes, strict=True)) if own != theirs)
        found = (
            f'has the classes of {other} in another order: class {label} is {classes[label]!r} here and '
            f'{other_classes[label]!r} there'
        )
    listed = f'{list(whole)}' if len(whole) <= _MOST_LISTED else '[...]'
    return (
        f'{name} {found}; write the same classes in both: classes={listed} where the config has this variable, else '
        'metainfo=dict(classes=[...]) of each dataset'
    )


def _wire_class_names(values: dict[str, Any], known: list[tuple[KeyPath, dict]], origins: Origins) -> None:
    """Fill in the class names of a detector that takes them, as one of an open vocabulary does; check given ones."""
    model = values.get('model')
    kind = model.get('type') if isinstance(model, dict) else None
    factory = DETECTORS.get(kind) if isinstance(kind, str) else kind
    if not callable(factory) or 'classes' not in arguments_of(factory).names:
        return
    path, names = next(
        ((path[:1], metainfo['classes']) for path, metainfo in known if metainfo.get('classes')),
        (('classes',), values.get('classes')),
    )
    if names and model.get('classes') is None:
        model['classes'] = tuple(names)
        origins.set(('model', 'classes'), origins.find(path))
    elif names and tuple(model['classes']) != tuple(names):
        raise ConfigError(
            f'{origins.find(("model", "classes"))}: model.classes is {_shown(model["classes"])}, but {dotted(path)} '
            f'({origins.find(path)}) has {_shown(names)}; leave classes out, so that they follow the data'
        )


def counts_classes(values: Mapping[str, Any]) -> bool:
    """Return whether the head of a config's model takes a number of classes."""
    model = values.get('model')
    head = model.get('head') if isinstance(model, dict) else None
    kind = head.get('type') if isinstance(head, dict) else None
    factory = HEADS.get(kind) if isinstance(kind, str) else kind
    return callable(factory) and (arguments_of(factory).any_name or head_takes(values, 'num_classes'))


def _refuse_unknown_classes(values: dict[str, Any], unknown: list[tuple[KeyPath, str]], origins: Origins) -> None:
    if not values.get('train_dataloader'):
        return
    for path, reason in unknown:
        raise ConfigError(f'{origins.find(path)}: {reason}')
    key = ('classes',) if 'classes' in values else ('train_dataloader', 'dataset')
    remedy = "classes=['bolt', 'nut']" if 'classes' in values else 'train_dataloader.dataset.metainfo.classes=[...]'
    raise ConfigError(
        f'{origins.find(key)}: train_dataloader.dataset does not say its classes, so {dotted(_CLASSES)} is unknown; '
        f'name them: {remedy}'
    )


def _wire_argument(values: dict[str, Any], name: str, known: list[tuple[KeyPath, dict]], origins: Origins) -> None:
    """Fill in an argument of the head that the metainfo of the data holds by the same name."""
    if not head_takes(values, name):
        return
    head, key = values['model']['head'], (*_HEAD, name)
    for path, found in _metainfo(known, name):
        if head.get(name) is None:
            head[name] = found
            origins.set(key, origins.find(path[:1]))
        elif name == 'stuff_labels' and set(head[name]) == set(found):
            continue  # their order means nothing
        elif tuple(head[name]) != found:
            raise ConfigError(
                f'{origins.find(key)}: {dotted(key)} is {_shown(head[name])}, but {dotted(path[:1])} '
                f'({origins.find(path[:1])}) has {_shown(found)}; leave {name} out, so that it follows the data'
            )


def _wire_sigmas(values: dict[str, Any], known: list[tuple[KeyPath, dict]], origins: Origins) -> None:
    loss, key = values['model']['head'].get('loss_keypoint'), (*_HEAD, 'loss_keypoint', 'sigmas')
    for path, sigmas in _metainfo(known, 'sigmas'):
        if isinstance(loss, dict) and loss.get('sigmas') is None:
            loss['sigmas'] = sigmas
            origins.set(key, origins.find(path[:1]))


def _metainfo(known: list[tuple[KeyPath, dict]], name: str) -> Iterator[tuple[KeyPath, tuple]]:
    for path, metainfo in known:
        if metainfo.get(name) is not None:
            yield path, tuple(metainfo[name])


def _shown(value: Any) -> str:
    return str(tuple(value)) if len(value) <= 4 else f'{len(value)} values'
