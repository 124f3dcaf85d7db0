"""Which parts fit together: the protocols of a part against those that its owner takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from detkit import protocols
from detkit.config.hints import nearest_first
from detkit.registry import MODEL_PARTS


def misfit(owner: Callable, key: str, part: Any) -> str | None:
    """Return why ``part`` cannot be the argument ``key`` of ``owner``; None where it can, or where nothing is stated.

    Args:
        owner: a component's class, whose ``takes`` says which protocol each of its parts must follow.
        key: the argument that holds the part.
        part: the class of the part.
    """
    wanted = getattr(owner, 'takes', {}).get(key)
    if wanted is None or not isinstance(part, type) or wanted in protocols_of(part):
        return None
    followed = protocols_of(part)
    found = sorted(one.__name__ for one in followed if not any(one in other.__mro__[1:] for other in followed))
    stated = f'{part.__name__} is a {" and a ".join(found)}' if found else f'{part.__name__} states no protocol'
    fitting = [name for name in MODEL_PARTS.names() if wanted in protocols_of(MODEL_PARTS.get(name))]
    own = '' if found else f'. If its calls have that signature, write class {part.__name__}(..., {wanted.__name__})'
    return (
        f'{owner.__name__} takes as {key} a {wanted.__name__} (detkit/protocols.py), but {stated}; '
        f'registered are {nearest_first(part.__name__, fitting)}{own}'
    )


def protocols_of(part: Any) -> frozenset[type]:
    """Return the protocols of ``detkit.protocols`` that a class follows, those that they extend included.

    A class that names protocols as parents follows these in place of those of its other parents.
    """
    for cls in getattr(part, '__mro__', ()):
        named = [base for base in cls.__bases__ if _is_protocol(base)]
        if named and not _is_protocol(cls):
            return frozenset(base for protocol in named for base in protocol.__mro__ if _is_protocol(base))
    return frozenset()


def _is_protocol(cls: type) -> bool:
    return cls.__module__ == protocols.__name__ and Protocol in cls.__bases__
