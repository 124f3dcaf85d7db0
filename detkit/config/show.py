"""A config as text, each value with the file and line that set it."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from detkit.config.executed import plain
from detkit.config.origins import Origins, dotted, leaves

_WIDEST = 72


def config_lines(config: Config, origins: Origins) -> Iterator[str]:
    """Yield a line for each value, ``dotted.key = value  # file:line``, with the keys that ``--cfg-options`` takes."""
    values = leaves(plain(config.to_dict()))
    rows = [(f'{dotted(path)} = {shortened(value)}', origins.find(path)) for path, value in values]
    width = min(max((len(text) for text, _ in rows), default=0), _WIDEST)
    for text, origin in rows:
        yield f'{text:<{width}}  # {origin}'


def shortened(value: Any) -> str:
    """Return a value as Python writes it; long lists, nested ones too, by their first two entries and their length."""
    if isinstance(value, dict):
        return f'{{{", ".join(f"{key!r}: {shortened(own)}" for key, own in value.items())}}}'
    text = repr(value)
    if isinstance(value, list | tuple) and len(text) > _WIDEST:
        first = f'{text[0]}{shortened(value[0])}, '
        return f'{first}{shortened(value[1])}, ... {len(value)} in all{text[-1]}' if len(value) > 2 else text
    return text
