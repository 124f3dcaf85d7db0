"""Reading files of torch.save without running anything of them."""

import builtins
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.utils.errors import CheckpointError
from detkit.utils.torch_files import LOADING_ERRORS, load_plain


def write_archive(path: Path, pickled: bytes, **files: bytes) -> Path:
    """A file like those of ``torch.save``, with this pickle."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickled)
        for name, content in files.items():
            archive.writestr(f'archive/{name}', content)
    return path


class Call:
    """Pickled, it is a call."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def victim(tmp_path):
    return tmp_path / 'victim'


def test_nothing_is_called(tmp_path, victim):
    command = f'touch {victim}'
    calls = [
        Call(os.system, command),
        Call(builtins.exec, f'open({str(victim)!r}, "w")'),
        Call(builtins.eval, f'open({str(victim)!r}, "w")'),
        Call(builtins.open, str(victim), 'w'),
        Call(builtins.__import__, 'os'),
        Call(Path(victim).touch),
    ]
    for index, call in enumerate(calls):
        path = tmp_path / f'{index}.pt'
        torch.save({'model': call, 'nested': [{'x': (call,)}]}, path)
        with TorchArchive(path) as archive:
            assert isinstance(archive.content['model'], StandIn)
    assert not victim.exists()
    torch.load(tmp_path / '0.pt', weights_only=False)
    assert victim.exists()  # the files do harm to those who trust them


# As pickles may be written by hand: the old opcodes, an instance whose class is a function, states for what must not
# have any, names with dots.
HAND_WRITTEN = {
    'GLOBAL REDUCE': b'cposix\nsystem\n(V%s\ntR.',
    'INST': b'(V%s\niposix\nsystem\n.',
    'OBJ': b'(cposix\nsystem\nV%s\no.',
    'NEWOBJ': b'\x80\x02cposix\nsystem\n(V%s\nt\x81.',
    'dotted': b'\x80\x04\x8c\x02os\x8c\x0bpath.system\x93(V%s\ntR.',
    'state of a class': b'ccollections\nOrderedDict\n}(V__init__\ncposix\nsystem\nub(V%s\ntR.',
    'state of a function': b'ctorch._utils\n_rebuild_parameter\n}(V__call__\ncposix\nsystem\nub(V%s\ntR.',
    'setstate': b'cposix\nsystem\n)R}(V__setstate__\ncposix\nsystem\nubV%s\nb.',
}


@pytest.mark.parametrize('name', HAND_WRITTEN)
def test_no_opcode_calls_anything(tmp_path, victim, name):
    path = write_archive(tmp_path / 'x.pt', HAND_WRITTEN[name] % f'touch {victim}'.encode())
    try:
        TorchArchive(path).__exit__(None, None, None)
    except CheckpointError as error:
        assert 'is damaged' in str(error)
    assert not victim.exists()
    assert OrderedDict.__init__ is not os.system and OrderedDict(a=1) == {'a': 1}


def test_stand_ins_keep_what_they_are_given(tmp_path):
    path = tmp_path / 'x.pt'
    torch.save({'module': torch.nn.Linear(2, 3), 'path': Path('a')}, path)
    with TorchArchive(path) as archive:
        module = archive.content['module']
        assert (module.path, module.kind) == ('torch.nn.modules.linear.Linear', 'Linear')
        assert module.get('in_features') == 2 and module.get('nothing', 5) == 5
        assert archive.content['path'].args == (('a',), {})


class Fold(dict):
    """A dict with attributes."""


def test_containers_of_unknown_classes_keep_their_items(tmp_path):
    fold = Fold(a=1)
    fold.note = 'x'
    torch.save(fold, tmp_path / 'x.pt')
    with TorchArchive(tmp_path / 'x.pt') as archive:
        assert archive.content.items == [('a', 1)] and archive.content.get('note') == 'x'


@pytest.mark.parametrize(
    'dtype',
    [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ],
)
def test_tensors_round_trip(tmp_path, dtype):
    whole = torch.arange(24).reshape(2, 3, 4).to(dtype)
    tensors = {
        'whole': whole,
        'part': whole[:, 1:, ::2],
        'turned': whole.permute(2, 0, 1),
        'scalar': whole[1, 2, 3],
        'empty': whole[:0],
        'parameter': torch.nn.Parameter(whole, requires_grad=False),
    }
    torch.save(tensors, tmp_path / 'x.pt')
    with TorchArchive(tmp_path / 'x.pt') as archive:
        for name, expected in tensors.items():
            found = archive.read(archive.content[name])
            assert found.dtype == dtype and found.is_contiguous() and torch.equal(found, expected), name


def test_a_tensor_outside_its_storage_is_refused(tmp_path):
    torch.save({'x': torch.zeros(4)}, tmp_path / 'x.pt')
    with TorchArchive(tmp_path / 'x.pt') as archive:
        ref = archive.content['x']
        for wrong in (
            dict(size=(5,)),
            dict(offset=1),
            dict(size=(4, 4), stride=(0, 0)),
            dict(size=(10**12,)),
            dict(stride=(-1,)),
            dict(offset=-1),
            dict(size=('a',)),
        ):
            with pytest.raises(CheckpointError, match='is damaged'):
                archive.read(TensorRef(*ref)._replace(**wrong))
        with pytest.raises(CheckpointError, match='is damaged'):
            archive.read(ref._replace(storage=ref.storage._replace(key='7')))
        with pytest.raises(CheckpointError, match='a data type that no model has'):
            archive.read(ref._replace(storage=ref.storage._replace(dtype=None)))


def test_few_bytes_are_not_many_tensors(tmp_path):
    shared = torch.zeros(1000)
    torch.save({str(i): shared[i % 10 :] for i in range(20)}, tmp_path / 'x.pt')
    with TorchArchive(tmp_path / 'x.pt') as archive:
        refs = list(archive.content.values())
        assert all(archive.read(ref).numel() > 980 for ref in refs[:8])
        with pytest.raises(CheckpointError, match=r'x\.pt is damaged .*more than 8 times the memory'):
            for ref in refs[8:]:
                archive.read(ref)


def test_what_is_no_such_file(tmp_path):
    text = tmp_path / 'text.pt'
    text.write_text('weights')
    torch.save({'x': torch.zeros(1000)}, tmp_path / 'whole.pt')
    cut = tmp_path / 'cut.pt'
    cut.write_bytes((tmp_path / 'whole.pt').read_bytes()[:2000])
    other = tmp_path / 'other.zip'
    with zipfile.ZipFile(other, 'w') as archive:
        archive.writestr('a.txt', 'x')
    scripted = write_archive(tmp_path / 'scripted.pt', b'N.', **{'constants.pkl': b'N.', 'code/a.py': b''})
    for path, expected in (
        (tmp_path / 'none.pt', 'does not exist'),
        (tmp_path, 'is a folder'),
        (text, r'truncated \(7 bytes\)'),
        (cut, r'truncated \(2000 bytes\)'),
        (other, 'no data.pkl'),
        (scripted, 'TorchScript'),
    ):
        with pytest.raises(CheckpointError, match=expected) as caught:
            TorchArchive(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    'pickled',
    [
        b'',
        b'garbage',
        pickle.dumps([1, 2])[:-3],
        b'cposix\nsystem\n',
        b'\x80\x02}K\x01b.',
        b'\x80\x02X\x02\x00\x00\x00\xff\xff.',
        b'\x80\x02(X\x07\x00\x00\x00storagetQ.',
        b'\x80\x02](e0.',
        b'\x80\x02]r\xff\xff\xff\x7f.',
        b']p2147483647\n.',
    ],
)
def test_a_damaged_pickle_is_one_sentence(tmp_path, pickled):
    path = write_archive(tmp_path / 'x.pt', pickled)
    with pytest.raises(CheckpointError, match='is damaged'):
        TorchArchive(path)


def test_compressed_bytes_are_not_unpacked(tmp_path):
    path = tmp_path / 'x.pt'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', b' ' * 10**6)
    with pytest.raises(CheckpointError, match='compressed'):
        TorchArchive(path)


def test_another_byte_order_is_refused(tmp_path):
    path = write_archive(tmp_path / 'x.pt', pickle.dumps({}, 2), byteorder=b'middle')
    with pytest.raises(CheckpointError, match='byte order'):
        TorchArchive(path)


def tuples_of_tuples(doubled: bytes, levels: int = 60) -> bytes:
    """Return a pickle of a dict with a key of 2^levels parts; ``doubled`` makes two of the one on the stack."""
    return b'\x80\x02})' + (doubled + b'\x86') * levels + b'K\x01s.'


@pytest.mark.parametrize('doubled', [b'2', b'q\x00h\x00', b'q\x00h\x00(0', b'q\x00h\x00K\x010'])
def test_tuples_of_tuples_are_not_hashed(tmp_path, doubled):
    pickled = tuples_of_tuples(doubled)
    path = write_archive(tmp_path / 'x.pt', pickled)
    with pytest.raises(CheckpointError, match='is damaged'):
        TorchArchive(path)
    head = b''.join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    for content in (path.read_bytes(), head + pickled):
        path.write_bytes(content)
        with pytest.raises((pickle.UnpicklingError, *LOADING_ERRORS)):
            load_plain(path)


def test_sizes_of_sizes_are_not_hashed(tmp_path):
    doubled = b'q\x00h\x00\x86q\x01ctorch\nSize\nh\x01\x85R'
    pickled = b'\x80\x02})' + doubled * 60 + b'K\x01s.'
    with pytest.raises(CheckpointError, match='is damaged'):
        TorchArchive(write_archive(tmp_path / 'x.pt', pickled))


def test_tuples_that_many_share_are_read(tmp_path):
    shared = tuple((i, i) for i in range(100))
    torch.save({'x': [shared] * 1000, **{(i, shared): i for i in range(100)}}, tmp_path / 'x.pt')
    with TorchArchive(tmp_path / 'x.pt') as archive:
        assert archive.content['x'][-1] == shared and archive.content[7, shared] == 7
    assert load_plain(tmp_path / 'x.pt')[7, shared] == 7
