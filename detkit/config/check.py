"""The strict check: every component's name and arguments, before anything is built."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from detkit.config.locate import describe
from detkit.config.mmengine_parts import refusal
from detkit.config.origins import KeyPath, Origins, dotted
from detkit.config.own_parts import mistake_in, priority_mistake
from detkit.config.pipelines import pipeline_mistakes
from detkit.config.positions import CHILD_POSITIONS, CONSTRUCTOR, DATALOADER_KEYS, LOSS, TOP_POSITIONS, Position
from detkit.config.signatures import arguments_of
from detkit.config.value_types import RANGES, fits, range_mistake, remedy_for, spelled
from detkit.contracts import misfit
from detkit.registry import MODEL_PARTS, Registry, backend_names, no_such_part
from detkit.utils.errors import ComponentError, ConfigError, nearest, nearest_first
from detkit.utils.front_end import changing

# A model's parts get these from their neighbours or from the data: detkit.models.wiring and detkit.config.wiring.
WIRED = frozenset({'in_channels', 'in_strides', 'strides', 'num_classes'})


def check_config(config: Config | dict, origins: Origins | None = None) -> None:
    """Refuse unknown components and unknown or missing arguments.

    Args:
        config: a whole config, as ``load_config`` returns it.
        origins: where each value was set, to name file and line.

    Raises:
        ConfigError: names the key, what was found, what would be accepted and the nearest names.
    """
    check = _Check(origins)
    for key, position in TOP_POSITIONS.items():
        if config.get(key) is not None:
            check.position(config[key], (key,), position)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if config.get(key) is not None:
            check.dataloader(config[key], (key,))
            for path, mistake in pipeline_mistakes(config[key], (key,)):
                raise check.fail(path, mistake)
    if config.get('log_to') is not None:
        check.backends(config['log_to'], ('log_to',))
    optim_wrapper = config.get('optim_wrapper') or {}
    if isinstance(optim_wrapper, dict) and ('constructor' in optim_wrapper or 'paramwise_cfg' in optim_wrapper):
        check.optim_constructor(optim_wrapper)


class _Check:
    def __init__(self, origins: Origins | None) -> None:
        self.origins = origins

    def fail(self, path: KeyPath, text: str) -> ConfigError:
        where = f'{self.origins.blame(path)}: ' if self.origins else ''
        return ConfigError(f'{where}{dotted(path)}: {text}')

    def position(self, value: Any, path: KeyPath, position: Position) -> None:
        """Check a value at a position that holds a component, a list of components, or a dict of them."""
        if isinstance(value, list | tuple):
            for i, item in enumerate(value):
                self.position(item, (*path, i), position)
        elif isinstance(value, dict) and position.holds_dict and 'type' not in value:
            for key, item in value.items():
                self.position(item, (*path, key), position)
        elif isinstance(value, dict):
            if 'type' not in value and position.default_type is None:
                raise self.fail(
                    path,
                    f'a {position.registry().name} needs a type; found the keys '
                    f'{", ".join(map(str, value)) or "(none)"}; write type=..., one of '
                    f'{nearest_first("", position.registry().names())}',
                )
            self.component(value, path, position)
        elif isinstance(value, str | int | float):
            raise self.fail(
                path, f'{value!r} is given where a {position.registry().name} is expected, which is a dict with a type'
            )

    def component(self, value: dict, path: KeyPath, position: Position) -> None:
        factory = self.name(value.get('type', position.default_type), (*path, 'type'), position.registry)
        if factory is None:
            return
        arguments = arguments_of(factory)
        given = [key for key in value if key not in ('type', '_scope_', *position.extra)]
        title = getattr(factory, '__name__', str(factory))
        if not arguments.any_name:
            accepted = [name for name in arguments.names if name not in position.injected]
            for key in given:
                if key not in arguments.names:
                    raise self.fail((*path, key), self._unknown_argument(key, title, accepted, path))
        wired = WIRED if position.wires else frozenset()
        missing = [
            name
            for name in arguments.names
            if name in arguments.required and name not in value and name not in position.injected | wired
        ]
        if missing:
            raise self.fail(
                path,
                f'{title} needs the argument {missing[0]!r}, which has no default; given are '
                f'{", ".join(map(repr, given)) or "none"}',
            )
        for key in given:
            expected = arguments.types.get(key)
            if expected is not None and not fits(value[key], expected):
                is_filled_in = key in wired and (key in arguments.required or fits(None, expected))
                remedy = '; leave it out, so that it is filled in' if is_filled_in else remedy_for(value[key], expected)
                raise self.fail(
                    (*path, key), f'{title} takes {key} as {spelled(expected)}; found {value[key]!r}{remedy}'
                )
            self.contract(factory, value[key], (*path, key))
            self.argument(value[key], (*path, key), position.below)
            if factory.__module__.startswith(('detkit.', 'torch.optim.')):
                self.range(value[key], (*path, key), title, typed=expected is not None)
        mistake = priority_mistake(value.get('priority')) if 'priority' in position.extra else None
        if mistake:
            raise self.fail((*path, 'priority'), mistake)
        mistake = mistake_in(factory, position.registry(), value)
        if mistake:
            raise self.fail((*path, 'type'), mistake)
        if factory.__module__.startswith('torch.optim.') and value.get('lr', 0) is None:
            raise self.fail((*path, 'lr'), f"{title} needs a number; only 'auto' chooses a rate of its own")
        incomplete = arguments.required & WIRED - value.keys()
        if position.tried and factory.__module__.startswith(position.tried) and not incomplete:
            self.build(value, path, position)

    def contract(self, owner: Callable, value: Any, path: KeyPath) -> None:
        """Refuse a part whose protocol is not the one that its owner takes."""
        kind = value.get('type') if isinstance(value, dict) else None
        part = MODEL_PARTS.get(kind) if isinstance(kind, str) else kind
        reason = misfit(owner, str(path[-1]), part)
        if reason is not None:
            raise self.fail((*path, 'type'), reason)

    def range(self, value: Any, path: KeyPath, title: str, typed: bool = False) -> None:
        """Refuse a number outside the range that an argument of this name has, also in a dict of plain values.

        A text in place of a number is refused too, unless an annotation has been compared (``typed``).
        """
        if isinstance(value, dict) and 'type' not in value:
            for key, item in value.items():
                self.range(item, (*path, key), str(path[-1]))
        mistake = range_mistake(value, str(path[-1]))
        if isinstance(value, str) and not typed and path[-1] in RANGES:
            mistake = f'{path[-1]} as a number; found {value!r}{remedy_for(value, float)}'
        if mistake:
            raise self.fail(path, f'{title} takes {mistake}')

    def build(self, value: dict, path: KeyPath, position: Position) -> None:
        """Refuse what the component's constructor refuses."""
        arguments = {key: item for key, item in copy.deepcopy(value).items() if key not in position.extra}
        if 'params' in position.injected:
            arguments['params'] = [nn.Parameter(torch.zeros(1))]
        try:
            position.registry().build({'type': position.default_type, **arguments})
        except ComponentError as error:
            raise ConfigError(describe(error, path, self.origins)) from error

    def argument(self, value: Any, path: KeyPath, position: Position) -> None:
        """Check an argument: its name may say that it holds components."""
        known = CHILD_POSITIONS.get(str(path[-1]))
        if known is not None:
            self.position(value, path, known)
        elif str(path[-1]).startswith('loss_') and isinstance(value, dict) and 'type' in value:
            self.component(value, path, LOSS)
        else:
            self.below(value, path, position)

    def below(self, value: Any, path: KeyPath, position: Position) -> None:
        """Check the components among a component's arguments; dicts without ``type`` are plain values."""
        if isinstance(value, dict) and 'type' in value:
            self.component(value, path, position)
        elif isinstance(value, dict):
            for key, item in value.items():
                self.argument(item, (*path, key), position)
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                self.below(item, (*path, i), position)

    def dataloader(self, value: Any, path: KeyPath) -> None:
        if not isinstance(value, dict):
            raise self.fail(
                path, f"{value!r} is given where a data loader is expected, which is a dict with a 'dataset'"
            )
        for key in value:
            if key not in DATALOADER_KEYS:
                raise self.fail(
                    (*path, key),
                    f'a data loader has no argument {key!r}; accepted are '
                    f'{nearest_first(key, DATALOADER_KEYS)}.{nearest(key, DATALOADER_KEYS)}',
                )
            if not fits(value[key], DATALOADER_KEYS[key]):
                raise self.fail(
                    (*path, key), f'a data loader takes {key} as {spelled(DATALOADER_KEYS[key])}; found {value[key]!r}'
                )
            self.range(value[key], (*path, key), 'a data loader', typed=True)
        if 'dataset' not in value:
            raise self.fail(path, "a data loader needs the argument 'dataset'")
        for key in ('dataset', 'sampler', 'collate_fn'):
            if value.get(key) is not None:
                self.position(value[key], (*path, key), CHILD_POSITIONS[key])

    def optim_constructor(self, optim_wrapper: dict) -> None:
        """Check ``optim_wrapper.constructor``, a name, and the ``paramwise_cfg`` that it takes."""
        name = optim_wrapper.get('constructor', CONSTRUCTOR.default_type)
        path = ('optim_wrapper', 'paramwise_cfg')
        factory = self.name(name, ('optim_wrapper', 'constructor'), CONSTRUCTOR.registry)
        if factory.__module__.startswith(CONSTRUCTOR.tried):
            value = dict(type=name, optim_wrapper_cfg={}, paramwise_cfg=optim_wrapper.get('paramwise_cfg'))
            self.build(value, path, CONSTRUCTOR)

    def backends(self, value: Any, path: KeyPath) -> None:
        """Check ``log_to``: short names of visualiser backends, or their configs."""
        items = list(value) if isinstance(value, list | tuple) else [value]
        names = backend_names() if items else {}
        for item in items:
            if isinstance(item, str) and item.lower() not in names:
                raise self.fail(
                    path, f'there is no {item!r} to log to, only {", ".join(sorted(names))}.{nearest(item, names)}'
                )
            item = {'type': names[item.lower()]} if isinstance(item, str) else item
            self.position(item, path, CHILD_POSITIONS['vis_backends'])

    def name(self, name: Any, path: KeyPath, registry: Callable[[], Registry]) -> Callable:
        """Return the class or function that a ``type`` names, or refuse the name."""
        found = name if callable(name) else registry().get(name) if isinstance(name, str) else None
        if found is None:
            names = [other for other in registry().names() if not refusal(registry().get(other))]
            raise self.fail(
                path,
                f'{no_such_part(registry().name, name)}{nearest(name, names)} '
                f'Registered are: {nearest_first(name, sorted(names))}. A class of your own is registered by a module '
                'that custom_imports names',
            )
        refused = refusal(found)
        if refused:
            raise self.fail(path, refused)
        return found

    def _unknown_argument(self, key: str, title: str, accepted: list[str], path: KeyPath) -> str:
        text = f'{title} has no argument {key!r}; accepted are {nearest_first(key, accepted)}.{nearest(key, accepted)}'
        if self.origins:
            of_type, of_key = self.origins.find((*path, 'type')), self.origins.find((*path, key))
            if of_type.file and of_key.file and of_type.file != of_key.file:
                text += (
                    f' The type is set in {of_type}; to drop what other files set for the former type, write '
                    f'_delete_=True beside it.'
                )
            elif of_key.file and path and not of_type.file:
                text += (
                    f' The type is set on the command line; write the dict as a whole, which replaces the other keys: '
                    f'{changing(dotted(path), {"type": title})}.'
                )
        return text
