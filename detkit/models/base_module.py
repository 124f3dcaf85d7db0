"""``BaseModule``: a network that initialises its weights as its config says."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import nn

_Module = TypeVar('_Module', bound=nn.Module)


@runtime_checkable
class Initialisable(Protocol):
    """A network that initialises its weights: one of detkit's or mmengine's base class, or with such a method."""

    def init_weights(self) -> None:
        """Initialise the weights."""
        ...


class BaseModule(nn.Module):
    """Base of backbones, necks, heads and detectors: a network with mmengine's ``init_cfg``.

    Importing mmengine's own base class takes longer than all other imports of a prediction together, as it comes with
    its optimisers.

    Args:
        init_cfg: mmengine's initialisation config, or several; see ``mmengine.model.initialize``.
    """

    def __init__(self, init_cfg: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        self.init_cfg = copy.deepcopy(init_cfg)
        self.is_init = False

    def init_weights(self) -> None:
        """Initialise the weights once: by ``init_cfg``, then those of the children by theirs.

        Weights of a file (``type='Pretrained'``) come last, as they replace all others.
        """
        if self.is_init:
            return
        configs = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else list(self.init_cfg or ())
        self._initialise([config for config in configs if not _is_pretrained(config)])
        for child in self.children():
            # A child may have mmengine's base class, or none.
            if isinstance(child, Initialisable) and not getattr(child, 'is_init', False):
                child.init_weights()
        self._initialise([config for config in configs if _is_pretrained(config)])
        self.is_init = True

    def _initialise(self, configs: list[Mapping[str, Any]]) -> None:
        if configs:
            from mmengine.model import initialize

            initialize(self, [dict(config) for config in configs])


class Sequential(BaseModule, nn.Sequential):
    """Networks that run in order, each of which initialises its weights."""


def with_children(module: _Module, **children: nn.Module) -> _Module:
    """Return a module that shares all with ``module`` but its children of these names."""
    shared = copy.copy(module)
    shared._modules = {**module._modules, **children}  # copy.copy shares the dict of the children
    return shared


def _is_pretrained(config: Mapping[str, Any]) -> bool:
    kind = config['type']
    return (kind if isinstance(kind, str) else kind.__name__) in ('Pretrained', 'PretrainedInit')
