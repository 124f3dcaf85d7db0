"""The device and environment of a run, described without starting other programs."""

import functools
import os
import platform
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from detkit.utils.allocator import keep_freed_memory
from detkit.utils.device import check_device
from detkit.utils.errors import ConfigError
from detkit.utils.numbers import count_text


@functools.lru_cache(maxsize=1)
def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors='replace').splitlines():
            if line.lower().startswith('model name'):
                return ' '.join(line.split(':', 1)[1].split())
    return platform.processor() or platform.machine()


def choose_device(device: str | None, distributed: bool, cudnn_benchmark: bool = False) -> torch.device:
    """Return the device of a process, and make it CUDA's current one; on a CPU, freed memory is kept.

    Args:
        device: the config's; None for a GPU where there is one.
        distributed: take the GPU of the process's ``LOCAL_RANK``.
        cudnn_benchmark: let cuDNN measure which algorithm is the fastest.

    Raises:
        ConfigError: a GPU is asked for, and there is none, or the device cannot be used.
    """
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if str(device).startswith('cuda') and not torch.cuda.is_available():
        raise ConfigError(f"device is {device!r}, but PyTorch finds no GPU; use device='cpu' or leave it out.")
    if device == 'cuda':
        device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if distributed else 'cuda:0'
    chosen = check_device(device)
    if chosen.type == 'cuda':
        torch.cuda.set_device(chosen)
        torch.backends.cudnn.benchmark = cudnn_benchmark
    elif chosen.type == 'cpu':
        keep_freed_memory()
    return chosen


def device_text(device: torch.device, amp_dtype: torch.dtype | None) -> str:
    """Return a line with the device and number format of a run."""
    precision = {None: 'float32', torch.bfloat16: 'bf16 mixed precision', torch.float16: 'fp16 mixed precision'}
    if device.type == 'cuda':
        name = f'{device}, {torch.cuda.get_device_name(device)}'
    else:
        name = f'{device}, {cpu_name()}, {count_text(torch.get_num_threads(), "thread")}'
    return f'{name}, {precision[amp_dtype]}'


def environment_text() -> str:
    """Return versions and settings, a line each."""
    lines = {
        'system': platform.platform(),
        'python': sys.version.replace('\n', ' '),
        'processor': cpu_name(),
        'threads': f'{torch.get_num_threads()} of {os.cpu_count()} cores',
        'torch': torch.__version__,
        'numpy': np.__version__,
        'opencv': cv2.__version__,
        'command': ' '.join(sys.argv),
    }
    if torch.cuda.is_available():
        lines['cuda'] = f'{torch.version.cuda}, ' + ', '.join(
            torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())
        )
    variables = {key: value for key, value in os.environ.items() if key.startswith(('OMP_', 'MKL_', 'CUDA_', 'NCCL_'))}
    lines.update(variables)
    return '\n'.join(f'  {key}: {value}' for key, value in lines.items()) + '\n' + torch.__config__.show()
