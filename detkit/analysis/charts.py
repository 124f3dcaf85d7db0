"""The style of charts, and writing a chart to a file."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from detkit.utils.errors import ConfigError
from detkit.utils.files import replacing
from detkit.utils.printable import one_line
from detkit.visualization.text import font_families

# The palette of Okabe and Ito: its colours differ for colour-blind readers too.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#444444')
DARK, GREY = '#1c2430', '#b9c1ca'  # a mean, and what is not named

if rcParams['font.family'] == ['sans-serif']:  # Matplotlib's own, in which names in some scripts are empty squares
    rcParams['font.family'] = ['sans-serif', *list(font_families())[1:]]

_SUFFIXES = ('.png', '.svg', '.pdf')


def label_text(name: object, length: int = 60) -> str:
    r"""Return a name as a chart's label, for which Matplotlib draws it as it is.

    Dollar signs would begin a formula, and a legend leaves out what begins with an underscore.

    Args:
        name: of a class, a run, a file, ...
        length: of the label, of which '…' is the end where the name is longer.
    """
    text = one_line(str(name))
    text = text if len(text) <= length else f'{text[: length - 1]}…'
    return (' ' * text.startswith('_') + text).replace('$', r'\$')


def panel(
    width: float, height: float, tick_size: float = 8, label_size: float = 9, grid: str = 'both'
) -> tuple[Figure, Axes]:
    """Return a figure of one chart, its sides in inches, in the style of ``style``."""
    figure = Figure(figsize=(width, height), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    style(axes, tick_size, label_size, grid)
    return figure, axes


def style(axes: Axes, tick_size: float = 8, label_size: float = 9, grid: str = 'both') -> None:
    """Set the sizes of the text of a chart, and remove the frame where it is no axis.

    Args:
        axes: the chart.
        tick_size, label_size: sizes of the text at the ticks and beside the axes, in points.
        grid: 'x', 'y', 'both', or '' for no grid.
    """
    axes.tick_params(labelsize=tick_size)
    axes.xaxis.label.set_size(label_size)
    axes.yaxis.label.set_size(label_size)
    axes.spines[['top', 'right']].set_visible(False)
    if grid:
        axes.grid(axis=grid, alpha=0.3)


def count_bar(figure: Figure, axes: Axes, image: ScalarMappable, shrink: float) -> None:
    """Draw the colour bar of an image of counts."""
    bar = figure.colorbar(image, ax=axes, shrink=shrink)
    bar.locator = MaxNLocator(4, integer=True)
    bar.update_ticks()
    bar.ax.tick_params(labelsize=8)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix, and make its folder if need be.

    Raises:
        ConfigError: another suffix.
        OSError: it cannot be written; an older one of its name is as it was.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigError(f"'{path}' cannot be drawn: a picture's name ends in {', '.join(_SUFFIXES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower(), bbox_inches='tight')
