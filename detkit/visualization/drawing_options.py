"""``DrawingOptions``: what a drawing of predictions shows, named in one place. It is imported without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

from detkit.utils.call_options import CallOptions, check_flag, number, option
from detkit.utils.errors import ConfigError

ColorBy = Literal['class', 'instance']
# The widest line that OpenCV draws.
_WIDEST_LINE = 32767


def _check_color_by(name: str, value: Any) -> None:
    if value not in get_args(ColorBy):
        raise ConfigError(f"{name} is {value!r}, but must be 'class' or 'instance'")


@dataclass(frozen=True)
class DrawingOptions(CallOptions):
    """The options of a drawing: arguments of a result's ``plot``, ``save`` and ``show``, and of ``detkit predict``.

    Attributes:
        labels: whether the names of the classes are written.
        scores: whether scores are written behind the names.
        bboxes: whether boxes, or rotated boxes, are drawn.
        masks: whether masks are drawn; segments of a whole image are tinted.
        line_width: width of the boxes' lines in pixels; by default it follows the image's size.
        color_by: 'class' gives all objects of a class one colour, 'instance' each object its own; by default masks and
            keypoints are coloured by instance, boxes alone by class.

    Raises:
        ConfigError: an option has a value that makes no sense.
    """

    labels: bool = option(True, 'write the names of classes', check_flag)
    scores: bool = option(True, 'write scores behind the names', check_flag)
    bboxes: bool = option(True, 'draw boxes', check_flag, ['--boxes'])
    masks: bool = option(True, 'draw masks', check_flag)
    line_width: int | None = option(
        None,
        "width of the boxes' lines (default: it follows the size of the image)",
        number(Integral, 1, _WIDEST_LINE),
        type=int,
        metavar='PIXELS',
    )
    color_by: ColorBy | None = option(
        None,
        'a colour for each object or for each class (default: by instance for masks and keypoints, else by class)',
        _check_color_by,
        choices=get_args(ColorBy),
    )

    def text(self, name: str, score: float | None = None) -> str:
        """Return what is written at an object: its name, its score, both or nothing."""
        scored = self.scores and score is not None
        return ' '.join([*([name] if self.labels else []), *([f'{score:.2f}'] if scored else [])])


# All is drawn.
DRAW_ALL = DrawingOptions()
