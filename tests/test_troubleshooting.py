"""The messages that the page on troubleshooting explains are those of the package."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
TITLES = re.findall(r'^### `(.+)`$', (REPO / 'docs' / 'troubleshooting.md').read_text(encoding='utf-8'), re.MULTILINE)


@cache
def package_texts() -> list[str]:
    """Return every text in the package's source, with ``…`` for what is computed."""
    texts = []
    for path in sorted((REPO / 'detkit').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else '…' for part in node.values]
                texts.append(re.sub('…+', '…', ''.join(parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_the_page_explains_many_messages():
    assert len(TITLES) == len(set(TITLES)) >= 20


@pytest.mark.default_cases(10)
@pytest.mark.parametrize('title', TITLES)
def test_a_message_is_one_of_the_package(title):
    """All fixed parts of a title follow each other within one text, or its parts of it where that is computed."""
    fixed = [re.escape(part.strip()) for part in title.split('…') if part.strip(' .,;:()=')]
    pattern = re.compile('.*?'.join(fixed), re.DOTALL)
    assert any(pattern.search(text) for text in package_texts())
