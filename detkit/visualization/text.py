"""Drawing of text in any script and size, antialiased."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont

from detkit.utils.printable import one_line

# Families with the characters of Chinese, Japanese and Korean, which the font below lacks, where one is installed.
_FALLBACKS = (
    'Noto Sans CJK SC',
    'Noto Sans CJK JP',
    'Noto Sans CJK KR',
    'Source Han Sans SC',
    'WenQuanYi Zen Hei',
    'WenQuanYi Micro Hei',
    'Droid Sans Fallback',
    'Microsoft YaHei',
    'PingFang SC',
    'Hiragino Sans',
    'Yu Gothic',
    'Malgun Gothic',
    'Apple SD Gothic Neo',
    'Nanum Gothic',
    'Arial Unicode MS',
)


@lru_cache(maxsize=1)
def font_families() -> dict[str, str]:
    """Return the families that text is drawn in and their files: the first that has a character draws it.

    The first is the font that Matplotlib brings along: there on every machine, unlike the system's.
    """
    from matplotlib import font_manager, get_data_path  # only now: a model that predicts draws nothing

    installed = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist}
    own = {'DejaVu Sans': str(Path(get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'))}
    return own | {name: installed[name] for name in _FALLBACKS if name in installed}


@lru_cache(maxsize=16)
def _characters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


@lru_cache(maxsize=64)
def _font(size: int, path: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def _font_of(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return the font that has most of the characters of a text, the first of equals."""
    paths = list(font_families().values())
    used = set(map(ord, text))
    best = paths[0] if len(paths) == 1 else max(paths, key=lambda path: len(used & _characters(path)))
    return _font(size, best)


@lru_cache(maxsize=4096)
def text_alpha(text: str, size: int) -> np.ndarray:
    """Return the coverage ``(h, w)`` float32 in 0 ... 1 of one line of text; h depends on ``size`` alone.

    Args:
        text: any; line breaks and other control characters, which no font has, are drawn as their escapes.
        size: the font's, in pixels.
    """
    text = one_line(text)
    font = _font_of(text, size)
    ascent, descent = _font_of('', size).getmetrics()
    width = max(1, round(font.getlength(text)))
    mask, (left, top) = font.getmask2(text, mode='L')
    alpha = np.zeros((ascent + descent, width), np.float32)
    drawn = np.array(mask, np.float32).reshape(mask.size[1], mask.size[0]) / 255
    left, top = max(left, 0), max(top + ascent - font.getmetrics()[0], 0)  # on the baseline of the first font
    drawn = drawn[: alpha.shape[0] - top, : width - left]
    alpha[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    alpha.setflags(write=False)
    return alpha


def cut_text(text: str, size: int, width: float) -> str:
    """Return the text on one line, cut with '…' at its end if it is wider than ``width`` pixels."""
    text = one_line(text)
    font = _font_of(text, size)
    if max(1, round(font.getlength(text))) <= width:
        return text
    # The first end at which the text is too wide; a class name in a file may have thousands of characters.
    end = bisect_left(range(2, len(text) + 1), True, key=lambda end: font.getlength(text[:end] + '…') > width) + 1
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
