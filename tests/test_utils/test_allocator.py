"""Freed memory is kept, and used again without clearing its pages."""

import os
import resource
import subprocess
import sys

import pytest

from detkit.utils.allocator import _has_glibc

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
