"""The text of one config file, and what follows from it alone.

A file runs several times while a config loads, as a base of several files and with several sets of variables, so each
step of reading it is done once.
"""

import ast
import glob
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import CodeType

from detkit.config.origins import KeyPath, Origin, places_in
from detkit.config.rewrite import (
    BASE,
    assigned_lines,
    base_statement,
    is_name,
    names_computed_from_base,
    names_read,
    rewrite,
    stray_base_line,
)
from detkit.utils.errors import ConfigError

# Functions that always give the same for the same arguments.
PURE_FUNCTIONS = ('dict', 'list', 'tuple', 'range', 'len', 'int', 'float', 'str', 'round', 'min', 'max', 'abs', 'sum')


@dataclass(frozen=True, eq=False)
class Program:
    """A file that is ready to run.

    Attributes:
        code: the file, compiled, rewritten so that it reads the values of its bases.
        imported: the names that the file imports to use them (``from … import COCO80``), which are no settings of its
            own.
    """

    code: CodeType
    imported: frozenset[str]


class Source:
    """A config file as it is written.

    Attributes:
        path: the file.
        text: its content.
        tree: the syntax tree; read only.
        base: the statement that names the bases; None where there is none.
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self.tree = ast.parse(text, str(path))
        self.base = base_statement(self.tree)

    @cached_property
    def stray_base_line(self) -> int:
        """The line of another statement that sets the bases, see :func:`stray_base_line`; 0 for none."""
        return stray_base_line(self.tree)

    @cached_property
    def names_read(self) -> set[str]:
        """The names that the file reads."""
        return names_read(self.tree)

    @cached_property
    def assigned(self) -> dict[str, int]:
        """The names that the file binds, with their lines."""
        return assigned_lines(self.tree)

    @cached_property
    def unpacked(self) -> set[str]:
        """The names that take an item of a sequence, of which some are there for the others' sake."""
        targets = [
            node for node in ast.walk(self.tree) if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store)
        ]
        return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}

    @cached_property
    def computed_from_base(self) -> frozenset[str]:
        """The names whose values depend on those of the bases, see :func:`names_computed_from_base`."""
        return frozenset(names_computed_from_base(self.tree))

    @cached_property
    def is_closed(self) -> bool:
        """Whether the file computes its values from nothing but its text, its bases and detkit's constants."""
        called = [node.func for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        imports = [node for node in ast.walk(self.tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        return all(isinstance(name, ast.Name) and name.id in PURE_FUNCTIONS for name in called) and all(
            isinstance(node, ast.ImportFrom) and str(node.module).startswith('detkit.') for node in imports
        )

    @cached_property
    def reads_base(self) -> bool:
        """Whether the file may read the values of its bases; one that calls other functions may do so unseen."""
        return not self.is_closed or any(
            is_name(node, BASE) and isinstance(node.ctx, ast.Load) for node in ast.walk(self.tree)
        )

    @cached_property
    def places(
        self,
    ) -> tuple[dict[KeyPath, tuple[int, str]], dict[KeyPath, KeyPath], list[tuple[KeyPath, KeyPath]]]:
        """Where the file sets each value, as :func:`places_in` returns it."""
        return places_in(self.tree)

    def program(self, former: Collection[str]) -> Program:
        """Return the file as it is run, see :func:`rewrite`."""
        return _program(self, frozenset(former))


def read_source(path: Path) -> Source:
    """Read a config file, or what the name of a size stands for, see :func:`sized_base`.

    Raises:
        ConfigError: it is no Python text in UTF-8, sets its bases in several statements, or imports all names of a
            module.
    """
    base = None if path.is_file() else sized_base(path)
    try:
        text = path.read_text(encoding='utf-8-sig') if base is None else '_base_ = {!r}\nsize = {!r}\n'.format(*base)
        source = _source(path, text)
    except SyntaxError as error:
        raise ConfigError(f'{Origin(path, error.lineno or 0)}: this is no valid Python: {error.msg}') from error
    except (UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f'{Origin(path)}: this is no Python text in UTF-8: {error}') from error
    if source.stray_base_line:
        raise ConfigError(
            f'{Origin(path, source.stray_base_line)}: _base_ is set once, by a statement of its own: write one path, '
            'or one list of paths, in quotes'
        )
    if '*' in source.assigned:
        raise ConfigError(
            f'{Origin(path, source.assigned["*"])}: import * sets names that nobody has written; import those that the '
            'file uses'
        )
    return source


def sized_base(path: Path) -> tuple[str, str] | None:
    """Return the file and the size that a name with a size in it may stand for.

    ``det_m_coco.py`` stands for det_coco.py with m, ``det_m_coco8.py`` for det_n_coco8.py with m. None where there is
    no file of the rest of the name.
    """
    task, *words = path.stem.split('_')
    for count in range(1, len(words)):
        data = '_'.join(words[count:]) + path.suffix
        alike = [f'{task}_{data}', *sorted(other.name for other in path.parent.glob(f'{glob.escape(task)}_*_{data}'))]
        for base in alike:
            if (path.parent / base).is_file():
                return base, '_'.join(words[:count])
    return None


@lru_cache(maxsize=256)
def _source(path: Path, text: str) -> Source:
    return Source(path, text)


@lru_cache(maxsize=2048)
def _program(source: Source, former: frozenset[str]) -> Program:
    tree = rewrite(ast.parse(source.text, str(source.path)), former)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = frozenset(alias.name for node in imports for alias in node.names if alias.asname is None) - assigned
    return Program(compile(tree, str(source.path), 'exec'), imported)
