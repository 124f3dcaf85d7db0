"""Freed memory is kept, and used again without clearing its pages."""

import os
import resource
import subprocess
import sys

import pytest

from detkit.utils import allocator
from detkit.utils.allocator import _has_glibc, give_back_memory

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


@pytest.mark.skipif(not _has_glibc(), reason='another C library')
def test_freed_blocks_are_used_again():
    pages = 10 * (64 + 40 + 48 << 20) // resource.getpagesize()
    kept, count = faults()
    assert kept == 'True' and count < pages / 20
    left, plain = faults(DETKIT_KEEP_MEMORY='0')
    assert left == 'False' and plain > 4 * count
    assert faults(MALLOC_TRIM_THRESHOLD_='131072')[0] == 'False'


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
