"""Damaged and forged checkpoints: every one is read or refused with a sentence, and none runs anything."""

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from fuzz_strategies import AMOUNTS, ODD_WORDS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st

from detkit.engine.checkpoint import find_resumable, load_checkpoint
from detkit.inference.model import config_of_text
from detkit.utils.errors import CheckpointError
from detkit.utils.torch_files import num_stored

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')  # PyTorch's, of odd pickles and sparse tensors

META = {
    'format': 'detkit',
    'format_version': 1,
    'detkit_version': '0',
    'config': "task = 'det'\n",
    'config_file': '',
    'classes': ['a', 'b'],
    'task': 'pose',
    'keypoints': {'keypoint_names': ('x', 'y'), 'flip_pairs': ((0, 1),), 'skeleton': ((0, 1),), 'sigmas': (0.1, 0.1)},
    'epoch': 1,
    'iter': 5,
}
CONTENT = {'meta': META, 'state_dict': {'w': torch.arange(6.0), 'n': torch.tensor(3)}, 'loop': {'epoch': 1}}
tensors = st.sampled_from(
    [
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(3, device='meta'),
        torch.eye(2).to_sparse(),
        torch.zeros(1).expand(1 << 40),
        torch.tensor([], dtype=torch.bool),
        torch.ones(2, dtype=torch.float8_e5m2),
    ]
)
# What torch.load knows as plain: no NaN in keys, whole numbers of 64 bits.
plain = values.filter(lambda value: 'inf' not in repr(value)) | tensors


def entries_of(content: object) -> dict[str, bytes]:
    """Return the entries of the archive that ``torch.save`` writes."""
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_entries(path: Path, entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)


def is_sound(checkpoint: dict) -> None:
    meta = checkpoint['meta']
    assert all(isinstance(name, str) for name in meta.get('classes', ()))
    assert meta.get('config') is None or isinstance(meta['config'], str)
    assert sum(float(tensor.double().sum()) for tensor in checkpoint['state_dict'].values() if tensor.numel() < 9) < 1e9


@pytest.mark.parametrize('cases', AMOUNTS)
def test_bytes_of_a_file(tmp_path, cases):
    path = tmp_path / 'x.pth'
    torch.save(CONTENT, path)
    data = path.read_bytes()
    cut = st.integers(0, len(data)).map(lambda length: data[:length])
    end = st.integers(0, 900).map(lambda back: data[: len(data) - back])  # within the list of entries

    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        is_sound(load_checkpoint(path))
        assert find_resumable(tmp_path).path == path

    run_fuzz(cases, damaged(st.just(data) | cut | end), check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_entries_of_an_archive(tmp_path, cases):
    path = tmp_path / 'x.pth'
    original = entries_of(CONTENT)
    names = st.sampled_from([*original, 'archive/', 'archive/data/', '', '../x', '/x', 'archive/data/0/x', 'data.pkl'])
    contents = st.sampled_from([b'', b'x', *original.values()])
    extra = st.lists(st.tuples(names, contents), max_size=2)
    kept = st.lists(st.sampled_from(sorted(original)), max_size=1).map(
        lambda left_out: [(name, data) for name, data in original.items() if name not in left_out]
    )

    @st.composite
    def archives(draw):
        return draw(st.permutations(draw(kept) + draw(extra))), draw(st.sampled_from([0, 0, 0, zipfile.ZIP_DEFLATED]))

    def check(drawn) -> None:
        write_entries(path, *drawn)
        is_sound(load_checkpoint(path))

    run_fuzz(cases, archives(), check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_pickles_of_an_archive(tmp_path, cases):
    path, original = tmp_path / 'x.pth', entries_of(CONTENT)
    name = next(name for name in original if name.endswith('data.pkl'))
    mark = tmp_path / 'mark'
    evil = [
        pickle.dumps(_Evil(function, args), protocol)
        for protocol in (0, 2, 4)
        for function, args in (
            (Path.touch, (mark,)),
            (exec, (f'open({str(mark)!r}, "w")',)),
            (getattr, (torch.Tensor, 'map_')),
            (bytearray, (1 << 50,)),
            (torch.Size, ((1 << 62,) * 9,)),
        )
    ]

    def check(changed: bytes) -> None:
        write_entries(path, [(key, changed if key == name else data) for key, data in original.items()])
        try:
            is_sound(load_checkpoint(path))
        finally:
            assert not mark.exists()

    run_fuzz(cases, damaged(st.just(original[name])) | st.sampled_from(evil), check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_contents(tmp_path, cases):
    path = tmp_path / 'x.pth'
    metas = replaced(META, plain) | plain
    weights = st.dictionaries(st.sampled_from(['w', 'n', 3, '']), plain, max_size=2) | plain
    contents = st.one_of(
        replaced(CONTENT, plain),
        st.builds(lambda meta: {**CONTENT, 'meta': meta}, metas),
        st.builds(lambda own: {**CONTENT, 'state_dict': own}, weights),
        st.builds(lambda own: {**CONTENT, 'meta': {**META, 'keypoints': own}}, replaced(META['keypoints'], plain)),
        plain,
    )

    def check(content: object) -> None:
        torch.save(content, path)
        is_sound(load_checkpoint(path))

    run_fuzz(cases, contents, check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_config_texts(cases):
    text = "task = 'det'\nclasses = ['a', 'b']\nmodel = {'type': 'X', 'size': (1, -2.5e3), 'a': None}\n"
    hostile = st.sampled_from(
        [
            '_base_ = "x.py"',
            'custom_imports = {"imports": ["os"]}',
            'a = lambda: 0',
            'a = __import__("os").system("x")',
            'a.b = 1',
            'a, b = 1, 2',
            'a = b = 1',
            'a = f"{1}"',
            'a = [i for i in (1,)]',
            'import os',
            'a = {[]: 1}',
            'a = {1, (2,), {3: 4}}',
            'a = ' + '(' * 300 + ')' * 300,
            'a = ' + '-' * 5000 + '1',
            'a = ' + '[' * 150 + ']' * 150,
            'a = ' + '9' * 5000,
            'a = 1+' * 3000 + '1',
            'a = {"_delete_": True, "filename": 3}',
            'filename = 1',
            'text = 2',
            '_cfg_dict = {}',
            'model = 5',
            'a = """',
            'a = "\\ud800"',
            '\ufeffa = 1',
            'a = 1\0',
            *ODD_WORDS,
        ]
    )
    lines = st.lists(hostile | st.sampled_from(text.splitlines()), max_size=4).map('\n'.join)
    changed = damaged(st.just(text.encode())).map(lambda data: data.decode('utf-8', 'surrogateescape'))

    def check(drawn: str) -> None:
        assert isinstance(config_of_text(drawn).to_dict(), dict)

    run_fuzz(cases, lines | changed, check)


def test_an_archive_that_grows(tmp_path):
    path = tmp_path / 'x.pth'
    entries = entries_of({**CONTENT, 'state_dict': {'w': torch.zeros(1 << 22)}})
    write_entries(path, list(entries.items()), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000  # for 16 MB
    for mmap in (False, True):
        with pytest.raises(CheckpointError, match=r'x\.pth cannot be read .*is compressed'):
            load_checkpoint(path, mmap)


class _Evil:
    def __init__(self, function, args) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call


def _archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return file.getvalue()


def test_an_archive_with_two_directories(tmp_path):
    """Python's zipfile reads entries that are stored as they are, PyTorch others that are compressed."""
    path = tmp_path / 'x.pth'
    large = _archive(entries_of({**CONTENT, 'state_dict': {'w': torch.ones(1 << 22)}}), zipfile.ZIP_DEFLATED)
    shown = bytearray(_archive(entries_of(CONTENT | {'state_dict': {'w': torch.ones(1)}})))
    end, hidden_end = len(shown) - 22, len(large) - 22
    directory, hidden = (struct.unpack_from('<I', data, len(data) - 6)[0] for data in (shown, large))
    assert end - directory == hidden_end - hidden  # the same names
    padding = bytes(len(shown))
    struct.pack_into('<I', shown, end + 16, hidden)
    moved = len(large) - 22 + len(padding)  # where the archive that is shown begins
    position = directory
    while position < end:  # Python adds the distance between the directory's place and the one that is stated
        (offset,) = struct.unpack_from('<I', shown, position + 42)
        struct.pack_into('<I', shown, position + 42, moved + offset - (moved + directory - hidden))
        position += 46 + struct.unpack_from('<H', shown, position + 28)[0]
    path.write_bytes(large[:hidden_end] + padding + shown)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and all(entry.compress_type == 0 for entry in archive.infolist())
    assert torch.load(path, weights_only=True)['state_dict']['w'].numel() == 1 << 22
    for mmap in (False, True):
        with pytest.raises(CheckpointError, match='its directory is not where its end says'):
            load_checkpoint(path, mmap)


@pytest.mark.parametrize('what', ['before', 'behind'])
def test_an_archive_beside_something_else(tmp_path, what):
    """What PyTorch wrote before its archives is no archive with one behind it."""
    path, old = tmp_path / 'x.pth', io.BytesIO()
    torch.save(CONTENT, old, _use_new_zipfile_serialization=False)
    archive = _archive({'a': b'b'})
    path.write_bytes(old.getvalue() + archive if what == 'before' else archive[:-2] + b'\1\0c')
    with pytest.raises(CheckpointError, match=f'something lies {what} the archive'):
        load_checkpoint(path)


def test_large_archives_are_read(tmp_path):
    """PyTorch writes each of its own with the end of those above 4 GB; Python none that are small."""
    for name, data in (('own', None), ('python', _archive(entries_of(CONTENT)))):
        path = tmp_path / f'{name}.pth'
        if data is None:
            torch.save(CONTENT, path)
        else:
            path.write_bytes(data)
        assert load_checkpoint(path)['state_dict'].keys() == {'w', 'n'}


def test_few_bytes_that_are_seen_as_a_large_tensor(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({**CONTENT, 'state_dict': {'w': torch.zeros(1).expand(1 << 40)}}, path)
    with pytest.raises(CheckpointError, match='each stored on its own'):
        load_checkpoint(path)
    shared = torch.zeros(1 << 20)
    assert num_stored([shared, shared[:5], torch.zeros(3)]) == (1 << 20) + 3


def test_a_config_that_is_longer_than_any(tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({**CONTENT, 'meta': {**META, 'config': 'x = [' + '[],' * 2_000_000 + ']\n'}}, path)
    with pytest.raises(CheckpointError, match=r"meta\['config'\] has 6,000,007 characters, more than 4,194,304"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match='line 2 holds more than plain values'):
        config_of_text("task = 'det'\nmodel = dict(a=1)\n")
