"""Process groups of torchrun, slurm or mpi, on GPUs or CPUs."""

import os
import subprocess
from datetime import timedelta

import torch
from mmengine.dist import all_reduce, get_world_size, init_dist
from torch import distributed

from detkit.utils.errors import ConfigError
from detkit.utils.front_end import argument
from detkit.utils.interrupts import end_at_once
from detkit.utils.variables import number_in_variable

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# By launcher: the program, its variables for the number of a process and of all, and others that are needed.
_SET_BY = {
    'pytorch': ('torchrun', 'RANK', 'WORLD_SIZE', ('MASTER_ADDR', 'MASTER_PORT', 'LOCAL_RANK')),
    'slurm': ('srun', 'SLURM_PROCID', 'SLURM_NTASKS', ('SLURM_NODELIST',)),
    'mpi': ('mpirun', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', ('OMPI_COMM_WORLD_LOCAL_RANK', 'MASTER_ADDR')),
}
_FOR_GPUS = ('LOCAL_RANK', 'OMPI_COMM_WORLD_LOCAL_RANK')


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
    on_gpu = torch.cuda.is_available() and not (device or '').startswith('cpu')
    if launcher == 'mpi' and not on_gpu:
        raise ConfigError("launcher='mpi' needs GPUs; use 'pytorch' (torchrun) on CPUs.")
    _check_variables(launcher, on_gpu)
    end_at_once()
    if launcher == 'slurm':
        _set_main_address()
    if on_gpu:
        init_dist(launcher, backend=backend or 'nccl', timeout=timeout)
        return
    if launcher == 'slurm':
        _export_slurm_variables()
    distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout))


def largest_of_ranks(value: float) -> float:
    """Return the largest ``value`` of all processes; each must call it. A single process exchanges nothing."""
    if get_world_size() == 1:
        return value
    tensor = torch.tensor(float(value))
    all_reduce(tensor, 'max')
    return tensor.item()


def _check_variables(launcher: str, on_gpu: bool) -> None:
    """Raise ``ConfigError`` where a variable that the launcher sets is missing or wrong."""
    program, rank, size, others = _SET_BY[launcher]
    others = [name for name in others if on_gpu or name not in _FOR_GPUS]
    if missing := [name for name in (rank, size, *others) if name not in os.environ]:
        raise ConfigError(
            f'launcher={launcher!r} needs the variables that {program} sets ({", ".join(missing)} missing). '
            f'Start the run with {program}, or leave {argument("launcher", repr(launcher))} out.'
        )
    if not number_in_variable(rank) < (number := number_in_variable(size, least=1)):
        raise ConfigError(
            f'{rank} is {os.environ[rank]}, but the {number} processes that {size} counts are numbered from 0'
        )
    if 'MASTER_PORT' in os.environ:
        number_in_variable('MASTER_PORT', most=65535)
    for name in (name for name in others if name in _FOR_GPUS):
        number_in_variable(name)


def _set_main_address() -> None:
    """Set the address of the first process from slurm's list of nodes."""
    if 'MASTER_ADDR' not in os.environ:
        nodes = os.environ['SLURM_NODELIST']
        try:
            listed = subprocess.run(
                ['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=True
            )
            os.environ['MASTER_ADDR'] = listed.stdout.split()[0]
        except (OSError, subprocess.CalledProcessError, IndexError) as error:
            raise ConfigError(
                f"scontrol, which says who the nodes {nodes!r} of launcher='slurm' are, failed ({error}): set "
                'MASTER_ADDR to the name of the first node, for example where a container has no scontrol'
            ) from error


def _export_slurm_variables() -> None:
    """Set the variables that ``init_process_group`` reads from those of slurm."""
    environ = os.environ
    environ.setdefault('MASTER_PORT', '29500')
    environ['RANK'] = environ['SLURM_PROCID']
    environ['WORLD_SIZE'] = environ['SLURM_NTASKS']
    environ['LOCAL_RANK'] = environ.get('SLURM_LOCALID', '0')
