"""The device that a model runs on."""

from __future__ import annotations

import torch
from mmengine.device import get_device

from detkit.utils.errors import ConfigError, first_line


def check_device(device: str | torch.device | None) -> torch.device:
    """Return the device, which must be there.

    Raises:
        ConfigError: it is no device, or this machine or this build of PyTorch has none such.
    """
    try:
        device = torch.device(get_device() if device is None else device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:  # an unknown name, a missing driver, or no values, as of 'meta'
        raise ConfigError(f"device '{device}' cannot be used here: {first_line(error)}") from error
    return device
