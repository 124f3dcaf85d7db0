"""Darknet's ``.cfg`` files: sections of ``key=value`` lines, one section a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detkit.utils.errors import CheckpointError


@dataclass(frozen=True)
class Section:
    """A layer, or the ``net`` that comes first.

    Attributes:
        kind: what stands in brackets, such as ``convolutional``.
        options: by key, as written.
        line: of its bracket in the file, from 1; 0 where it comes from no file.
    """

    kind: str
    options: dict[str, str]
    line: int = 0


def parse_cfg(text: str, source: str | Path) -> tuple[Section, list[Section]]:
    """The ``net`` section, and the layers in their order.

    Raises:
        CheckpointError: the text is no ``.cfg``; says which line.
    """
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split('#')[0].split(';')[0].strip()
        if not line:
            continue
        key, equals, value = (part.strip() for part in line.partition('='))
        if line.startswith('[') and line.endswith(']'):
            sections.append(Section(line[1:-1].strip().lower(), {}, number))
        elif sections and equals and key:
            sections[-1].options[key] = value
        else:
            raise CheckpointError(
                f'{source}, line {number}: {raw.strip()!r} is neither a [section] nor key=value; is '
                'this the .cfg of a Darknet model?'
            )
    if not sections or sections[0].kind not in ('net', 'network'):
        raise CheckpointError(f'{source} does not begin with [net]; it is no .cfg of a Darknet model.')
    return sections[0], sections[1:]


def format_cfg(sections: Sequence[Section]) -> str:
    """The text of a ``.cfg`` file."""
    blocks = (
        '\n'.join((f'[{section.kind}]', *(f'{key}={value}' for key, value in section.options.items())))
        for section in sections
    )
    return '\n\n'.join(blocks) + '\n'


class SectionReader:
    """Reads a layer's options as numbers and absolute layer indices.

    Args:
        section: the layer.
        index: its place among the layers, from 0.
        source: the file's name in messages.
    """

    def __init__(self, section: Section, index: int, source: str | Path) -> None:
        self.section = section
        self.index = index
        self.where = f'{source}, line {section.line} ([{section.kind}], layer {index})'

    def text(self, key: str, default: str) -> str:
        return self.section.options.get(key, default)

    def number(self, key: str, default: int) -> int:
        return self.numbers(key, str(default))[0]

    def numbers(self, key: str, default: str = '') -> tuple[int, ...]:
        """Whole numbers; Darknet cuts off what stands behind a decimal point."""
        return tuple(int(value) for value in self.floats(key, default))

    def floats(self, key: str, default: str = '') -> tuple[float, ...]:
        text = self.text(key, default)
        try:
            values = tuple(float(item) for item in text.replace(',', ' ').split())
        except ValueError:
            values = ()
        if not values:
            raise CheckpointError(f'{self.where}: {key} is {text!r}, where numbers are expected')
        return values

    def layers(self, key: str) -> tuple[int, ...]:
        """Indices from 0 of other layers, which a file may count backwards from this one."""
        return tuple(value if value >= 0 else self.index + value for value in self.numbers(key))
