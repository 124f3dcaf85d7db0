"""Process groups of torchrun, slurm or mpi, on GPUs or CPUs."""

import os
import subprocess
from datetime import timedelta

import torch
from mmengine.dist import all_reduce, get_world_size, init_dist
from torch import distributed

from detkit.utils.errors import ConfigError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def init_distributed(launcher: str, device: str | None = None, backend: str | None = None, timeout: int = 1800) -> None:
    """Join the process group that ``launcher`` describes; does nothing for 'none' or when already joined.

    Without a GPU (or with ``device='cpu'``) the backend is always gloo.

    Args:
        launcher: one of ``LAUNCHERS``.
        device: the run's device, None for a GPU where there is one.
        backend: nccl, gloo or mpi; None for nccl on GPUs.
        timeout: seconds that a process waits for the others.

    Raises:
        ConfigError: unknown launcher, or its environment variables are missing.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f'launcher is {launcher!r}; it must be one of {", ".join(LAUNCHERS)}.')
    if launcher == 'none' or (distributed.is_available() and distributed.is_initialized()):
        return
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ConfigError(
            "launcher='pytorch' needs the variables that torchrun sets (RANK is missing). "
            'Start the run with torchrun -m detkit train, or leave --launcher out.'
        )
    if launcher == 'slurm' and 'SLURM_PROCID' not in os.environ:
        raise ConfigError("launcher='slurm' needs the variables that srun sets (SLURM_PROCID is missing).")

    on_gpu = torch.cuda.is_available() and not (device or '').startswith('cpu')
    if on_gpu:
        init_dist(launcher, backend=backend or 'nccl', timeout=timeout)
        return
    if launcher == 'slurm':
        _export_slurm_variables()
    elif launcher == 'mpi':
        raise ConfigError("launcher='mpi' needs GPUs; use 'pytorch' (torchrun) on CPUs.")
    distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))


def largest_of_ranks(value: float) -> float:
    """Return the largest ``value`` of all processes; each must call it. A single process exchanges nothing."""
    if get_world_size() == 1:
        return value
    tensor = torch.tensor(float(value))
    all_reduce(tensor, 'max')
    return tensor.item()


def _export_slurm_variables() -> None:
    """Set the variables that ``init_process_group`` reads from those of slurm."""
    environ = os.environ
    if 'MASTER_ADDR' not in environ:
        nodes = environ['SLURM_NODELIST']
        listed = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True)
        environ['MASTER_ADDR'] = listed.stdout.split()[0]
    environ.setdefault('MASTER_PORT', '29500')
    environ['RANK'] = environ['SLURM_PROCID']
    environ['WORLD_SIZE'] = environ['SLURM_NTASKS']
    environ['LOCAL_RANK'] = environ.get('SLURM_LOCALID', '0')
