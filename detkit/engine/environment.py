"""What a run runs on, for its log; gathered without starting other programs."""

import functools
import os
import platform
import sys
from pathlib import Path

import cv2
import numpy as np
import torch


@functools.lru_cache(maxsize=1)
def cpu_name() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors='replace').splitlines():
            if line.lower().startswith('model name'):
                return ' '.join(line.split(':', 1)[1].split())
    return platform.processor() or platform.machine()


def device_text(device: torch.device, amp_dtype: torch.dtype | None) -> str:
    """One line on where and in which number format a model trains."""
    precision = {None: 'float32', torch.bfloat16: 'bf16 mixed precision', torch.float16: 'fp16 mixed precision'}
    if device.type == 'cuda':
        name = f'{device}, {torch.cuda.get_device_name(device)}'
    else:
        name = f'{device}, {cpu_name()}, {torch.get_num_threads()} threads'
    return f'{name}, {precision[amp_dtype]}'


def environment_text() -> str:
    """Versions and settings, a line each."""
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
