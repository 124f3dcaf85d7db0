"""Settings of a whole model's batch normalisation."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.utils.errors import ConfigError, nearest

_SETTINGS = ('eps', 'momentum')


def set_batch_norm(model: nn.Module, settings: dict[str, float]) -> None:
    """Gives every batch normalisation of ``model`` the same ``eps``, ``momentum`` or both.

    Raises:
        ConfigError: ``settings`` has another key.
    """
    for key in settings:
        if key not in _SETTINGS:
            raise ConfigError(
                f'{type(model).__name__}: batch_norm has no key {key!r}; it takes eps and momentum.'
                f'{nearest(key, _SETTINGS)}'
            )
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            vars(module).update(settings)
