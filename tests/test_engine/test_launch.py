"""Variables of launchers that are missing or wrong."""

import re

import pytest
from torch import distributed

from detkit.engine.launch import init_distributed
from detkit.utils.errors import ConfigError

TORCHRUN = dict(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='29500')
SRUN = dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='a[1-2]')


@pytest.mark.parametrize(
    ('launcher', 'variables', 'message'),
    [
        ('pytorch', {}, 'needs the variables that torchrun sets (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT missing)'),
        ('pytorch', {'RANK': '0'}, '(WORLD_SIZE, MASTER_ADDR, MASTER_PORT missing). Start the run with torchrun'),
        ('pytorch', {**TORCHRUN, 'RANK': 'x'}, "RANK is 'x', but should be a whole number of at least 0"),
        ('pytorch', {**TORCHRUN, 'WORLD_SIZE': '0'}, "WORLD_SIZE is '0', but should be a whole number above 0"),
        ('pytorch', {**TORCHRUN, 'RANK': '1'}, 'RANK is 1, but the 1 processes that WORLD_SIZE counts are numbered'),
        ('pytorch', {**TORCHRUN, 'MASTER_PORT': '65536'}, "'65536', but should be a whole number from 0 to 65535"),
        ('slurm', {'SLURM_PROCID': '0'}, 'that srun sets (SLURM_NTASKS, SLURM_NODELIST missing)'),
        ('slurm', SRUN, "says who the nodes 'a[1-2]' of launcher='slurm' are, failed ([Errno 2] No such file"),
    ],
)
def test_variables_that_a_launcher_did_not_set(monkeypatch, launcher, variables, message):
    for name in (*TORCHRUN, *SRUN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('PATH', '')  # where slurm's programs would be
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=re.escape(message)):
        init_distributed(launcher, 'cpu')
    assert not distributed.is_initialized()
