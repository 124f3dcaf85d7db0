"""A config as text, each value with the place that set it."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from detkit.config.execute import plain
from detkit.config.origins import Origins, dotted, leaves

_WIDEST = 72


def config_lines(config: Config, origins: Origins) -> Iterator[str]:
    """One line a value: ``dotted.key = value  # file:line``; the keys are those that ``--cfg-options`` takes."""
    values = leaves(plain(config.to_dict()))
    rows = [(f'{dotted(path)} = {_shown(value)}', origins.find(path)) for path, value in values]
    width = min(max((len(text) for text, _ in rows), default=0), _WIDEST)
    for text, origin in rows:
        yield f'{text:<{width}}  # {origin}'


def _shown(value: Any) -> str:
    text = repr(value)
    if isinstance(value, list | tuple) and len(text) > _WIDEST:
        return f'{text[0]}{value[0]!r}, {value[1]!r}, ... {len(value)} in all{text[-1]}' if len(value) > 2 else text
    return text
