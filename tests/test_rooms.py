"""The direction of imports between the package's folders, read from the source, lazy imports included."""

import ast
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'detkit'
# Rooms that use the core and that the core does not know; it finds their components by name in a registry.
OUTSIDE = frozenset({'analysis', 'api', 'cli', 'converters', 'export', 'sample_data', 'serving', 'tuning', 'zoo'})
# All that these rooms may import of detkit, beside themselves.
ALLOWED = {
    'utils': set(),
    'registry': {'utils'},
    'structures': {'utils'},
    'visualization': {'structures', 'utils'},
    'datasets': {'registry', 'structures', 'utils'},
}


@cache
def imported_modules(path: Path) -> frozenset[str]:
    """Return the modules below ``detkit`` that a file imports anywhere, as dotted names without the package's."""
    parents = path.relative_to(PACKAGE.parent).with_suffix('').parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else ()
            module = '.'.join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f'{module}.{alias.name}'
                is_module = (PACKAGE.parent / target.replace('.', '/')).with_suffix('.py').is_file()
                is_folder = (PACKAGE.parent / target.replace('.', '/')).is_dir()
                found.add(target if is_module or is_folder else module)
    return frozenset(name.removeprefix('detkit.') for name in found if name.startswith('detkit.'))


def graph(depth: int) -> dict[str, set[str]]:
    """Return which folder imports which, folders being the first ``depth`` levels below the package."""
    edges = defaultdict(set)
    for path in PACKAGE.rglob('*.py'):
        source = folder(path.relative_to(PACKAGE).with_suffix('').parts, depth)
        if source in ('__init__', '__main__'):
            continue
        targets = {folder(tuple(name.split('.')), depth) for name in imported_modules(path)}
        edges[source] |= targets - {source, *parents_of(source)}
    return edges


def folder(parts: tuple[str, ...], depth: int) -> str:
    folders = [part for i, part in enumerate(parts) if i == 0 or (PACKAGE / '/'.join(parts[: i + 1])).is_dir()]
    return '.'.join(folders[:depth])


def parents_of(name: str) -> set[str]:
    parts = name.split('.')
    return {'.'.join(parts[:i]) for i in range(1, len(parts))}


@pytest.mark.parametrize('depth', [1, 2])
def test_no_folders_import_each_other(depth: int):
    edges = graph(depth)
    # A room's own files and its __init__ gather its folders; the circle that matters is between folders.
    edges = {
        source: {target for target in targets if source not in parents_of(target)} for source, targets in edges.items()
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(f'folders import each other: {" <- ".join(error.args[1])}')


def test_the_core_imports_nothing_outside_it():
    wrong = {source: targets & OUTSIDE for source, targets in graph(1).items() if source not in OUTSIDE}
    assert {source: targets for source, targets in wrong.items() if targets} == {}


@pytest.mark.parametrize('room', ALLOWED)
def test_lower_rooms_import_only_what_is_below(room: str):
    assert graph(1)[room] <= ALLOWED[room]


def test_the_graph_sees_lazy_imports(tmp_path: Path):
    path = PACKAGE / 'engine' / 'evaluate.py'
    assert 'analysis' not in {name.split('.')[0] for name in imported_modules(path)}
    assert any(name.startswith('config') for name in imported_modules(path))
