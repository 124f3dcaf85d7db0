"""Activations by name: ``torch.nn``'s, and any module that a user registers."""

from __future__ import annotations

from torch import nn

from detkit.registry import LAYERS
from detkit.utils.errors import ConfigError, nearest

ACTIVATIONS = ('ELU', 'GELU', 'Hardswish', 'LeakyReLU', 'Mish', 'PReLU', 'ReLU', 'ReLU6', 'SELU', 'SiLU')
for _name in ACTIVATIONS:
    LAYERS.register_module(name=_name, module=getattr(nn, _name))

# Darknet's 'leaky'. In place: the normalisation before it keeps its own input, so that its output need not be kept too.
LEAKY_RELU = dict(type='LeakyReLU', negative_slope=0.1, inplace=True)
# An activation as an argument: a module, a registered name, a config, or None for the identity.
Activation = nn.Module | str | dict | None


def build_activation(act: Activation) -> nn.Module:
    """A module as it is; one by its registered name, with or without arguments; the identity for None.

    Raises:
        ConfigError: no activation of that name is registered.
    """
    if act is None:
        return nn.Identity()
    if isinstance(act, nn.Module):
        return act
    cfg = dict(type=act) if isinstance(act, str) else act
    if LAYERS.get(cfg['type']) is None:
        raise ConfigError(
            f'there is no activation {cfg["type"]!r}; of torch.nn there are {", ".join(ACTIVATIONS)}.'
            f'{nearest(cfg["type"], ACTIVATIONS)}'
        )
    return LAYERS.build(cfg)
