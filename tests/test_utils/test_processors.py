"""Processors of the machine, and those whose time a container grants."""

import os

import pytest

from detkit.utils import processors as module
from detkit.utils.processors import limit_threads, processors


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Eight processors, and folders of groups in ``tmp_path``."""
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(module, '_GROUPS', tmp_path)
    monkeypatch.setattr(module, '_OWN_GROUPS', tmp_path / 'own')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')  # so that it is as before after the test
    monkeypatch.delenv('OMP_NUM_THREADS')

    def write(own='', **files):
        (tmp_path / 'own').write_text(own)
        for name, text in files.items():
            path = tmp_path / name.replace('__', '/').replace('_max', '.max').replace('_cfs', '.cfs')
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{text}\n')

    return write


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({}, 8),
        ({'cpu_max': 'max 100000'}, 8),
        ({'cpu_max': '250000 100000'}, 3),
        ({'cpu_max': '5000 100000'}, 1),
        ({'cpu_max': '6400000 100000'}, 8),
        ({'cpu_max': 'what'}, 8),
        ({'cpu__cpu_cfs_quota_us': '-1', 'cpu__cpu_cfs_period_us': '100000'}, 8),
        ({'cpu__cpu_cfs_quota_us': '200000', 'cpu__cpu_cfs_period_us': '100000'}, 2),
        ({'own': '0::/job/step\n', 'job__cpu_max': '300000 100000', 'job__step__cpu_max': 'max 100000'}, 3),
        (
            {
                'own': '3:cpuset:/x\n2:cpu,cpuacct:/job\n0::/\n',
                'cpu__job__cpu_cfs_quota_us': '400000',
                'cpu__job__cpu_cfs_period_us': '100000',
            },
            4,
        ),
    ],
)
def test_a_container_grants_fewer(groups, files, expected):
    groups(**files)
    assert processors() == expected
    limit_threads()
    assert os.environ.get('OMP_NUM_THREADS') == (None if expected == 8 else str(expected))


def test_a_number_that_is_given_stays(groups, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '6')
    groups(cpu_max='200000 100000')
    limit_threads()
    assert os.environ['OMP_NUM_THREADS'] == '6'


def test_a_system_that_says_nothing(monkeypatch, tmp_path, groups):
    monkeypatch.delattr(os, 'sched_getaffinity')
    monkeypatch.setattr(os, 'cpu_count', lambda: None)
    limit_threads()
    assert processors() == 1
