"""A hook of the site's build that keeps options of commands whole: a browser may end a line behind any hyphen."""

from __future__ import annotations

import re
from typing import Any

_INLINE_CODE = re.compile(r'<code>[^<]*</code>')
_OPTION = re.compile(r'(?<![\w-])--?\w[\w-]*')


def on_page_content(html: str, **kwargs: Any) -> str:
    """Return the page with options of inline code in elements of their own."""
    return _INLINE_CODE.sub(
        lambda code: _OPTION.sub(lambda option: f'<span class="option">{option[0]}</span>', code[0]), html
    )
