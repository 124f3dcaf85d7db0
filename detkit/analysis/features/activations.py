"""What modules of a network put out for an image."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from detkit.utils.errors import ConfigError, nearest


def choose_modules(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Names of modules, in the model's order.

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
    """Keeps the feature maps ``(B, C, h, w)`` that modules put out while the context lasts.

    What follows a module gets a copy, so that an operator in place leaves what is kept as it was; gradients flow
    through it.

    Args:
        model: the network.
        names: of its modules.

    Returns:
        By name, the maps of the latest call, one after the other where a module puts out several; none where it puts
        out something else.
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
