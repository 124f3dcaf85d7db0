"""Freed memory is kept, and used again without clearing its pages."""

import os
import resource
import subprocess
import sys
from mmap import mmap
from pathlib import Path

import numpy as np
import pytest

from detkit.utils import allocator
from detkit.utils.allocator import GrowthLimit, _has_glibc, give_back_memory, resident_bytes
from detkit.utils.errors import ConfigError

PAGE_FAULTS = """
import resource, sys
from detkit.utils.allocator import keep_freed_memory
import numpy as np
kept = keep_freed_memory()
for number in range(12):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [np.ones(size << 20, np.uint8) for size in (64, 40, 48)]
    del blocks
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables: str) -> tuple[str, int]:
    own = ('MALLOC_', 'GLIBC_TUNABLES', 'DETKIT_')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    done = subprocess.run(
        [sys.executable, '-c', PAGE_FAULTS], env=environment | variables, capture_output=True, text=True, check=True
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.thorough
@pytest.mark.skipif(not _has_glibc(), reason='another C library')
def test_freed_blocks_are_used_again():
    pages = 10 * (64 + 40 + 48 << 20) // resource.getpagesize()
    kept, count = faults()
    assert kept == 'True' and count < pages / 20
    left, plain = faults(DETKIT_KEEP_MEMORY='0')
    assert left == 'False' and plain > 4 * count
    assert faults(DETKIT_KEEP_MEMORY='1')[0] == 'True'
    assert faults(MALLOC_TRIM_THRESHOLD_='131072')[0] == 'False'


def test_the_variable_is_0_or_1(monkeypatch):
    allocator.keep_freed_memory.cache_clear()
    monkeypatch.setenv('DETKIT_KEEP_MEMORY', 'no')
    with pytest.raises(ConfigError, match="DETKIT_KEEP_MEMORY is 'no', but should be 0 or 1"):
        allocator.keep_freed_memory()


def test_memory_is_given_back_once_an_interval(monkeypatch):
    seen, calls = [], []

    class Library:
        def __init__(self, name):
            pass

        def malloc_trim(self, pad):
            calls.append((pad, len(seen)))

    monkeypatch.setattr(allocator.ctypes, 'CDLL', Library)
    monkeypatch.setattr(allocator, '_has_glibc', lambda: True)
    for item in give_back_memory(iter(range(10)), 4):
        seen.append(item)
    assert seen == list(range(10)) and calls == [(0, 4), (0, 8)]


def test_another_c_library_is_no_error(monkeypatch):
    monkeypatch.setattr(allocator, '_has_glibc', lambda: False)
    assert list(give_back_memory('abc', 1)) == ['a', 'b', 'c']


def test_a_system_without_the_name_has_no_glibc(monkeypatch):
    def refuse(name):
        raise ValueError(name)

    monkeypatch.setattr(allocator.os, 'confstr', refuse, raising=False)
    assert not _has_glibc.__wrapped__()


def test_memory_is_given_back_where_a_process_has_grown(monkeypatch):
    sizes, calls = iter([100, 120, 130, 131, 90, 117, 118, None, 500]), []
    monkeypatch.setattr(allocator, 'resident_bytes', lambda: next(sizes))
    monkeypatch.setattr(allocator, 'trim_memory', lambda: calls.append(1))
    limit = GrowthLimit(share=0.3)
    # 131 is more than 1.3 * 100; then the level is 90, of which 118 is more than 117
    assert [limit.check() for _ in range(9)] == [False, False, False, True, False, False, True, False, False]
    assert len(calls) == 2


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='the system does not say')
def test_the_memory_of_this_process():
    before = resident_bytes()
    with mmap(-1, 1 << 25) as block:  # pages of its own, where freed memory may be taken again
        np.frombuffer(block, np.uint8)[:] = 1
        assert resident_bytes() - before > 1 << 24
