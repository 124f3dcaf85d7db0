"""The components of a user's own that a run uses, and which of them an error concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config

from detkit.config import located
from detkit.engine.memory_errors import is_memory_error
from detkit.registry import (
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    HOOKS,
    METRICS,
    MODEL_PARTS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    is_own,
    package_of,
)
from detkit.utils.errors import ComponentError, DetkitError, frames_of, in_packages, reason_of

_KINDS = (
    MODEL_PARTS,
    DATASETS,
    DATA_SAMPLERS,
    TRANSFORMS,
    FUNCTIONS,
    METRICS,
    OPTIMIZERS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    HOOKS,
)
# The keys of a config that hold components which a rehearsal tries, and those that hold hooks.
TRIED = ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'optim_wrapper', 'param_scheduler')
_HOOKS = ('default_hooks', 'custom_hooks')


class OwnComponents:
    """The components of a user's own that a config names.

    Attributes:
        names: the config's name of each class and function, in the order of the config.
        packages: the top-level packages and modules that define them.
    """

    def __init__(self, config: Mapping[str, Any], keys: Sequence[str] = (*TRIED, *_HOOKS)) -> None:
        self.names = {part: name for key in keys for part, name in _own_parts(config.get(key))}
        self.packages = {package_of(part) for part in self.names}

    def culprit(self, error: BaseException) -> Any:
        """Return the component whose code raised an error, or called what did; None where there is none."""
        frames = [frame for frame, _ in frames_of(error)]
        inner = next((i for i, frame in enumerate(frames) if in_packages(frame, self.packages)), 0)
        owners = (type(frame.f_locals.get('self')) for frame in frames[inner:])
        return next((owner for owner in owners if owner in self.names), None)

    def reason(self, error: BaseException) -> str:
        """Return the type and text of an error, and the line of the user's own that raised it."""
        return reason_of(error, self.packages)


@contextmanager
def naming_own_components(config: Config, when: Callable[[], str]) -> Iterator[None]:
    """Name the component of the user's own in which an error was raised.

    Args:
        config: names the components.
        when: returns words for what the run did at that time.

    Raises:
        ConfigError: in place of such an error, with the component's file, line and key in the config.
    """
    try:
        yield
    except ComponentError as error:
        if not error.component:  # a worker process raised it, of which the text alone has come
            names = OwnComponents(config).names.values()
            error.component = next((name for name in names if str(error).startswith(f'{name} ')), '')
        with located(config):
            raise
    except DetkitError:
        raise
    except Exception as error:
        own = OwnComponents(config)
        part = None if is_memory_error(error) else own.culprit(error)
        if part is None:
            raise
        name = own.names[part]
        with located(config):
            raise ComponentError(f'{name} fails {when()}: {own.reason(error)}', name) from error


def _own_parts(value: Any) -> Iterator[tuple[Any, str]]:
    """Yield the classes and functions of a user's own that a part of a config names, in its order, with these names."""
    if isinstance(value, Mapping):
        kind = value.get('type')
        found = [registry.get(kind) for registry in _KINDS] if isinstance(kind, str) else [kind]
        yield from ((part, kind if isinstance(kind, str) else part.__name__) for part in found if is_own(part))
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for child in children:
        yield from _own_parts(child)
