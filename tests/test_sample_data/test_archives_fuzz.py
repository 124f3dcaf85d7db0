"""Damaged and forged archives: unpacked within their folder and limit, or refused with a sentence."""

import io
import zipfile

import pytest
from fuzz_strategies import AMOUNTS, damaged, run_fuzz
from hypothesis import strategies as st

from detkit.utils.download import unpack

NAMES = [
    'a/x.jpg',
    'a/labels/x.txt',
    'a',
    'a/',
    '',
    '/',
    '..',
    '../x',
    'a/../../x',
    '/etc/x',
    'C:\\x',
    'a\\..\\x',
    'a\0b',
    './x',
]
LIMIT = 10_000


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for name in draw(st.lists(st.sampled_from(NAMES) | st.sampled_from(NAMES[:2]), max_size=3)):
            entry = zipfile.ZipInfo('x')
            entry.filename = entry.orig_filename = name
            entry.external_attr = draw(st.sampled_from([0o100644, 0o120777, 0o010644, 0])) << 16
            archive.writestr(entry, draw(st.sampled_from([b'', b'text', bytes(LIMIT), bytes(LIMIT + 1)])))
    return file.getvalue()


@pytest.mark.parametrize('cases', AMOUNTS)
@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_archives(tmp_path, cases):
    path = tmp_path / 'x.zip'
    count = 0

    def check(data: bytes) -> None:
        nonlocal count
        count += 1
        path.write_bytes(data)
        folder = tmp_path / f'out{count}'
        folder.mkdir()
        try:
            unpack(path, folder, LIMIT)
        finally:
            files = [file for file in folder.rglob('*') if not file.is_dir()]
            assert sum(file.stat().st_size for file in files) <= LIMIT and not any(file.is_symlink() for file in files)
            outside = {entry.name for entry in tmp_path.iterdir()} - {f'out{i + 1}' for i in range(count)}
            assert outside == {'x.zip'}

    run_fuzz(cases, archives() | damaged(archives()), check)
