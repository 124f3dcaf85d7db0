"""The arguments of classes and functions, with ``**kwargs`` followed to the parents that receive them."""

import ast
import contextlib
import inspect
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

# A class whose **kwargs do not go to its parents sets this to True in its body; any argument is then accepted.
OPEN_MARK = '_accepts_any_kwargs'

# Classes of these packages cannot carry the mark.
_FOREIGN = ('mmengine.', 'torch.', 'torchvision.')


@dataclass(frozen=True)
class Arguments:
    """The arguments that a config may give.

    Attributes:
        names: in the order of the signature, those of parents after those of the class itself.
        required: the ones without a default.
        any_name: whether other names are accepted too.
        types: annotations of detkit's and users' arguments; others' are not always right.
    """

    names: tuple[str, ...]
    required: frozenset[str]
    any_name: bool = False
    types: dict[str, typing.Any] = field(default_factory=dict)


def arguments_of(factory: Callable) -> Arguments:
    """Return the arguments of a class or a function."""
    if not inspect.isclass(factory):
        return _of_signature(list(inspect.signature(factory).parameters.values()))
    return _with_types(factory)


@cache
def _with_types(factory: type) -> Arguments:
    found = _of_class(factory)
    return replace(found, types=_types_of_class(factory, found.names))


def _of_class(factory: type) -> Arguments:
    names: list[str] = []
    required: set[str] = set()
    given: set[str] = set()  # what a class already passes to its parents
    positional = 0  # how many leading arguments of the next parent it passes by position
    for cls in inspect.getmro(factory):
        init = vars(cls).get('__init__')
        if cls is object or init is None:
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        own = _of_signature(parameters[positional:])
        names += [name for name in own.names if name not in given and name not in names]
        required |= {name for name in own.required if name not in given and name in names}
        if not own.any_name or cls.__module__ == 'torch.nn.modules.module':
            return Arguments(tuple(names), frozenset(required))
        forwarded = _super_call(init)
        if OPEN_MARK in vars(cls):
            return Arguments(tuple(names), frozenset(required), bool(vars(cls)[OPEN_MARK]))
        if forwarded is None:
            return Arguments(tuple(names), frozenset(required), f'{cls.__module__}.'.startswith(_FOREIGN))
        given |= {keyword.arg for keyword in forwarded.keywords if keyword.arg is not None}
        given |= {parameter.name for parameter in parameters}
        positional = sum(not isinstance(argument, ast.Starred) for argument in forwarded.args)
    return Arguments(tuple(names), frozenset(required))


def _types_of_class(factory: type, names: tuple[str, ...]) -> dict[str, typing.Any]:
    """Return the annotation of each argument, from the first class of the MRO that takes it by name."""
    found: dict[str, typing.Any] = {}
    for cls in inspect.getmro(factory):
        init = vars(cls).get('__init__')
        if not inspect.isfunction(init) or f'{cls.__module__}.'.startswith(('builtins.', *_FOREIGN)):
            continue
        hints = _hints(init)
        for parameter in inspect.signature(init).parameters.values():
            if parameter.name in hints and parameter.name in names and parameter.name not in found:
                hint = hints[parameter.name]
                found[parameter.name] = hint | None if parameter.default is None else hint
    return found


def _hints(init: Callable) -> dict[str, typing.Any]:
    """Return the annotations of a function that can be evaluated; others exist for type checkers only."""
    hints: dict[str, typing.Any] = {}
    for name, annotation in init.__annotations__.items():
        single = types.SimpleNamespace(__annotations__={name: annotation})
        with contextlib.suppress(NameError, TypeError, AttributeError):
            hints |= typing.get_type_hints(single, globalns=init.__globals__)
    return hints


def _of_signature(parameters: list[inspect.Parameter]) -> Arguments:
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = frozenset(p.name for p in named if p.default is p.empty)
    return Arguments(tuple(p.name for p in named), required, any(p.kind is p.VAR_KEYWORD for p in parameters))


def _super_call(init: Callable) -> ast.Call | None:
    """Return the call ``super().__init__(..., **kwargs)`` in ``init``; None if its ``**kwargs`` go elsewhere."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == '__init__'
            and isinstance(node.func.value, ast.Call)
            and isinstance(node.func.value.func, ast.Name)
            and node.func.value.func.id == 'super'
            and any(keyword.arg is None for keyword in node.keywords)
        ):
            return node
    return None
