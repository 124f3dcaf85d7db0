"""Recording of the outputs of a network's modules."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from detkit.utils.errors import ConfigError, nearest


def choose_modules(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the modules that match patterns, in the model's order.

    Args:
        model: the network.
        patterns: names such as 'backbone.stem', or patterns such as 'neck.*'; '*' also stands for dots.

    Raises:
        ConfigError: a pattern fits no module.
    """
    names = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(f'the network has no module {pattern!r}.{nearest(pattern, names)} --list shows them all')
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


@contextmanager
def record_activations(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Record the feature maps ``(B, C, h, w)`` that modules return within the context.

    The next module gets a copy, through which gradients flow, so that an in-place operator does not change the record.

    Args:
        model: the network.
        names: of its modules.

    Returns:
        Lists of the feature maps of the latest call, by name; empty for a module that returns something else.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, arguments: tuple, output: Any) -> Any:
            found[name] = [tensor for tensor in _tensors(output) if tensor.dim() == 4]
            return _copied(output)

        return keep

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(keeper(name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in _tensors(item)]
    return []


def _copied(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        return {key: _copied(value) for key, value in output.items()}
    if type(output) in (list, tuple):
        return type(output)(_copied(item) for item in output)
    return output
