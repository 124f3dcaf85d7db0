"""Mixed precision: the number format that a step computes in."""

import functools
import logging
import platform

import torch
from torch import nn

from detkit.utils.errors import ConfigError
from detkit.utils.processors import processor_features

AMP_CHOICES = (True, False, 'bf16', 'fp16')
_log = logging.getLogger(__name__)


@functools.lru_cache(maxsize=1)
def cpu_has_bf16() -> bool:
    """Return whether this processor multiplies bfloat16 natively (AVX-512 BF16, AMX, or Arm's BF16 extension).

    PyTorch runs bfloat16 on other processors too, by converting back and forth, which is slower than float32.
    """
    features = processor_features()
    if features:
        wanted = {'avx512_bf16', 'amx_bf16'} if platform.machine() in ('x86_64', 'AMD64') else {'bf16'}
        return bool(wanted & features)
    checks = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')  # private, and absent from older releases
    return any(getattr(torch.cpu, name)() for name in checks if hasattr(torch.cpu, name))


def check_amp(amp: object, key: str) -> None:
    """Raise ``ConfigError`` for a value that is none of ``AMP_CHOICES``; ``key`` is what the error calls it."""
    if amp not in AMP_CHOICES:
        raise ConfigError(f"{key} is {amp!r}; it must be True, False, 'bf16' or 'fp16'.")


def check_takes_amp(model: nn.Module, amp: bool | str) -> None:
    """Raise ``ConfigError`` if mixed precision is asked of a detector that computes as it was exported.

    A checkpoint's own network is in float32, which ``True`` stands for on a CPU without bf16.
    """
    if amp and not model.takes_amp:
        if model.of_checkpoint and resolve_amp(amp, torch.device('cpu')) is None:
            return
        raise ConfigError(
            'amp has no effect on an exported file of this format, which computes as it was exported: leave it out '
            '(files of OpenVINO take it)'
        )


def amp_note(amp: bool | str, device: torch.device, is_exported: bool = False) -> str | None:
    """Return a sentence on mixed precision that is asked for where it saves no time; None elsewhere.

    Args:
        amp: one of ``AMP_CHOICES``.
        device: the device to compute on.
        is_exported: whether an exported file computes, whose runtime takes bf16 only where the processor has it.
    """
    if not amp or device.type != 'cpu' or cpu_has_bf16():
        return None
    if amp == 'bf16' and not is_exported:
        return (
            'this processor has no instructions for bf16, which is emulated and far slower than float32: leave amp '
            'out, or give True, which takes bf16 where it is faster'
        )
    return 'amp has no effect: this processor has no instructions for bf16, so that it computes in float32'


def warn_of_amp(amp: bool | str, device: torch.device, is_exported: bool = False) -> None:
    """Log ``amp_note`` on a model that predicts, the first time that there is one."""
    note = amp_note(amp, device, is_exported)
    if note is not None:
        _warn_once(note)


@functools.cache
def _warn_once(text: str) -> None:
    _log.warning(text)


def resolve_amp(amp: bool | str, device: torch.device, key: str = 'optim_wrapper.amp') -> torch.dtype | None:
    """Return the dtype of autocast for a config's ``amp`` key; None for plain float32.

    ``True`` takes the fastest safe format of the device: bf16 where it is native, else fp16 on a GPU and float32 on a
    CPU. A name selects that format on any device. ``key`` is what an error calls the value.

    Raises:
        ConfigError: the value is none of ``AMP_CHOICES``, or fp16 is asked for on a CPU.
    """
    check_amp(amp, key)
    if not amp:
        return None
    if amp == 'fp16':
        if device.type == 'cpu':
            raise ConfigError(f"{key}='fp16' needs a GPU; use 'bf16' or True on a CPU.")
        return torch.float16
    if amp == 'bf16':
        return torch.bfloat16
    if device.type == 'cpu':
        return torch.bfloat16 if cpu_has_bf16() else None
    if device.type == 'cuda':
        native = torch.cuda.get_device_capability(device)[0] >= 8
        return torch.bfloat16 if native else torch.float16
    return None
