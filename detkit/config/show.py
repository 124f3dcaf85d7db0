"""A config as text, each value with the place that set it."""

from collections.abc import Iterator

from mmengine.config import Config

from detkit.config.execute import plain
from detkit.config.origins import Origins, dotted, leaves

_WIDEST = 72


def config_lines(config: Config, origins: Origins) -> Iterator[str]:
    """One line a value: ``dotted.key = value  # file:line``; the keys are those that ``--cfg-options`` takes."""
    rows = [(f'{dotted(path)} = {value!r}', origins.find(path)) for path, value in leaves(plain(config.to_dict()))]
    width = min(max((len(text) for text, _ in rows), default=0), _WIDEST)
    for text, origin in rows:
        yield f'{text:<{width}}  # {origin}'
