"""Reading and rewriting the syntax tree of one config file, so that it reads the values of its bases."""

import ast
from collections.abc import Iterable

BASE, FORMER_BASE = '_base_', '_former_base_'


def names_read(tree: ast.AST) -> set[str]:
    """Return the names that the code reads, its own and (as ``_base_.name``) those of its bases."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} | {
        name for node in ast.walk(tree) if (name := _base_name(node))
    }


def names_computed_from_base(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Return the names that the file computes from the bases' value of the same name, as ``x = _base_.x * 2`` does.

    Returns:
        For each name the statements that lead to its value, through other names of the file too.
    """
    stored = [_stored(statement) for statement in tree.body]
    found = {}
    for name in {_base_name(node) for node in ast.walk(tree)} & set().union(*stored):
        statements = _leading_to(name, tree.body, stored)
        if any(_base_name(node) == name for statement in statements for node in ast.walk(statement)):
            found[name] = statements
    return found


def rewrite(tree: ast.Module, former: Iterable[str] = ()) -> ast.Module:
    """Change a file's tree in place so that ``_base_`` may hold the values of the bases.

    The statement that names the bases is left out, and ``{{_base_.x}}`` becomes ``_base_.x``. A statement that leads to
    the value of a name in ``former`` reads ``_former_base_.name``, the value before the file replaced it.
    """
    computed = names_computed_from_base(tree) if former else {}
    for name in former:
        for statement in computed.get(name, []):
            for node in ast.walk(statement):
                if _base_name(node) == name:
                    node.value.id = FORMER_BASE
    statement = base_statement(tree)
    tree.body = [other for other in tree.body if other is not statement]
    return ast.fix_missing_locations(_Rewriter().visit(tree))


def base_statement(tree: ast.Module) -> ast.Assign | ast.AnnAssign | None:
    """Return the statement ``_base_ = ...`` at the top level; None where a file has none."""
    return next((node for node in tree.body if any(is_name(target, BASE) for target in _targets(node))), None)


def stray_base_line(tree: ast.Module) -> int:
    """Return the line that sets ``_base_`` elsewhere: in a condition, by ``+=``, once more; 0 for none."""
    statement = base_statement(tree)
    targets = _targets(statement) if statement is not None else []
    if len(targets) > 1 or targets and statement.value is None:
        return statement.lineno
    stored = [node for node in ast.walk(tree) if is_name(node, BASE) and not isinstance(node.ctx, ast.Load)]
    return next((node.lineno for node in stored if node not in targets), 0)


def _targets(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def assigned_lines(node: ast.AST) -> dict[str, int]:
    """Return the names that the code binds outside of functions, classes and comprehensions, with their lines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name: node.lineno}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition('.')[0]: node.lineno for alias in node.names}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id: node.lineno}
    if isinstance(node, _INNER):
        return {}
    found: dict[str, int] = {}
    for child in ast.iter_child_nodes(node):
        found |= assigned_lines(child)
    return found


_INNER = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def is_name(node: ast.AST, name: str) -> bool:
    """Whether ``node`` is the plain name ``name``."""
    return isinstance(node, ast.Name) and node.id == name


def _leading_to(name: str, body: list[ast.stmt], stored: list[set[str]]) -> list[ast.stmt]:
    wanted, chosen = {name}, set()
    while True:
        more = {i for i, names in enumerate(stored) if names & wanted} - chosen
        if not more:
            return [body[i] for i in sorted(chosen)]
        chosen |= more
        wanted |= {node.id for i in more for node in ast.walk(body[i]) if isinstance(node, ast.Name)}


def _stored(statement: ast.stmt) -> set[str]:
    return {
        node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    } - {BASE}


def _base_name(node: ast.AST) -> str:
    """``_base_.name`` and ``_base_['name']`` -> ``name``; empty for anything else."""
    if isinstance(node, ast.Attribute) and is_name(node.value, BASE):
        return node.attr
    if isinstance(node, ast.Subscript) and is_name(node.value, BASE) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ''


class _Rewriter(ast.NodeTransformer):
    def visit_Set(self, node: ast.Set) -> ast.AST:
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:
            root = inner.elts[0]
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            if is_name(root, BASE) or is_name(root, FORMER_BASE):
                return inner.elts[0]
        return self.generic_visit(node)
