"""Colours of charts, and writing a chart to a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from detkit.utils.errors import ConfigError

# The palette of Okabe and Ito: its colours differ for colour-blind readers too.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#444444')

_SUFFIXES = ('.png', '.svg', '.pdf')


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix, and make its folder if need be.

    Raises:
        ConfigError: another suffix.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"'{path}' cannot be drawn: a picture's name ends in {', '.join(_SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches='tight')
