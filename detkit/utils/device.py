"""The device that a model runs on."""

from __future__ import annotations

import torch
from mmengine.device import get_device

from detkit.utils.errors import ConfigError, first_line


def check_device(device: str | torch.device | None) -> torch.device:
    """Return the device, which must be there.

    Raises:
        ConfigError: it is no device, this machine or this build of PyTorch has none such, or see
            ``check_default_type``.
    """
    check_default_type()
    try:
        device = torch.device(get_device() if device is None else device)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:  # unknown, a missing driver, or no values, as of 'meta'
        hint = _hint(str(device))
        raise ConfigError(f"device '{device}' cannot be used here: {first_line(error)}{hint}") from error
    return device


def check_default_type() -> None:
    """Raise ``ConfigError`` where networks, and what they compute, would have another type than images, float32."""
    default = torch.get_default_dtype()
    if default != torch.float32:
        raise ConfigError(
            f'the default type of PyTorch is {default}, but detkit computes in torch.float32 and in mixed precision '
            '(amp=True): call torch.set_default_dtype(torch.float32) first'
        )


def _hint(device: str) -> str:
    """Return what is meant by a device as other toolboxes write them: '0', '0,1'."""
    number, *others = device.strip('[] ').split(',')
    if not number.isdecimal():
        return ''
    return f"; a GPU is 'cuda:{number}'" + ('; several train with torchrun, see docs/distributed.md' if others else '')
