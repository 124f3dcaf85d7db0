"""Drawing of text in any script and size, antialiased."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib  # only now: a model that predicts draws nothing

    # The font that matplotlib brings along: there on every machine, unlike the system's.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), size)


@lru_cache(maxsize=4096)
def text_alpha(text: str, size: int) -> np.ndarray:
    """Return the coverage ``(h, w)`` float32 in 0 ... 1 of one line of text; h depends on ``size`` alone.

    Args:
        text: without line breaks.
        size: the font's, in pixels.
    """
    font = _font(size)
    ascent, descent = font.getmetrics()
    width = max(1, round(font.getlength(text)))
    mask, (left, top) = font.getmask2(text, mode='L')
    alpha = np.zeros((ascent + descent, width), np.float32)
    drawn = np.array(mask, np.float32).reshape(mask.size[1], mask.size[0]) / 255
    left, top = max(left, 0), max(top, 0)
    drawn = drawn[: alpha.shape[0] - top, : width - left]
    alpha[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    alpha.setflags(write=False)
    return alpha


def cut_text(text: str, size: int, width: float) -> str:
    """Return the text, cut with '…' at its end if it is wider than ``width`` pixels."""
    if text_alpha(text, size).shape[1] <= width:
        return text
    font = _font(size)
    end = len(text)
    while end > 1 and font.getlength(text[:end] + '…') > width:
        end -= 1
    return text[:end].rstrip() + '…'


def draw_text(
    img: np.ndarray,
    text: str,
    xy: tuple[int, int],
    size: int,
    colour: tuple[int, int, int],
    background: tuple[int, int, int] | None = None,
    padding: int = 0,
) -> None:
    """Draw one line into ``img (H, W, 3)``, in place; what lies outside is cut off.

    Args:
        xy: top left corner, of the background where there is one.
        background: colour of the filled rectangle behind the text, ``padding`` pixels wider on every side.
    """
    alpha = text_alpha(text, size)
    if padding:
        alpha = np.pad(alpha, ((padding, padding), (padding, padding)))
    x, y = xy
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + alpha.shape[1], img.shape[1]), min(y + alpha.shape[0], img.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    region = img[y0:y1, x0:x1]
    cover = alpha[y0 - y : y1 - y, x0 - x : x1 - x, None]
    under = region if background is None else np.asarray(background, np.float32)
    region[:] = np.rint(under * (1 - cover) + np.asarray(colour, np.float32) * cover)
