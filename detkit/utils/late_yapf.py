"""yapf, with which mmengine formats the text of configs, imported when it formats one and not with mmengine.

Importing it reads pickles from ``~/.cache/YAPF``, or writes them there. Pickles may run code, and a damaged one would
end every command in a traceback.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# What ``mmengine.config`` imports, outermost first.
_NAMES = ('yapf', 'yapf.yapflib', 'yapf.yapflib.yapf_api')


class _Late(ModuleType):
    """Stand-in of a module, which gives what the module has."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)  # for who asks whether there is such a package

    def __getattr__(self, name: str) -> Any:
        # Who looks through all modules, as ``inspect`` does, asks for '__file__' and the like.
        asked = name == '__path__' and self.__name__ != _NAMES[-1]  # of a package, for a module inside it
        if name.startswith('__') and not asked and name != '__version__':
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        return getattr(_load(self.__name__), name)


def postpone_yapf() -> None:
    """Let ``import yapf`` do nothing until something of it is used, unless it has been imported."""
    if _NAMES[0] in sys.modules:
        return
    for name in _NAMES:
        sys.modules[name] = _Late(name)
    sys.modules[_NAMES[-1]].FormatCode = _format_code


def _format_code(*args: Any, **kwargs: Any) -> Any:
    return _load(_NAMES[-1]).FormatCode(*args, **kwargs)


def _load(name: str) -> ModuleType:
    """Import yapf in place of its stand-ins, and return a module of it."""
    for each in _NAMES:
        if isinstance(sys.modules.get(each), _Late):
            del sys.modules[each]
    return importlib.import_module(name)
