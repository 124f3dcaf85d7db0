"""The structure of a model as its file holds it, in plain values."""

from __future__ import annotations

from torch import nn

_PLAIN = (bool, int, float, str, type(None))


def plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list | tuple) and all(map(plain, value)))


def layout(model: nn.Module) -> list[list]:
    """``[name, class, attributes, parameters, buffers]`` of each module, the last two with shapes."""
    rows = []
    for name, module in model.named_modules(remove_duplicate=False):
        attributes = {
            key: value
            for key, value in vars(module).items()
            if not key.startswith('_') and plain(value) and key not in ('training', 'np', 'type')
        }
        shapes = [
            {key: list(value.shape) for key, value in getattr(module, kind).items() if value is not None}
            for kind in ('_parameters', '_buffers')
        ]
        rows.append([name, f'{type(module).__module__}.{type(module).__qualname__}', attributes, *shapes])
    return rows
