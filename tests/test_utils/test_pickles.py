"""Pickles are checked byte by byte as Python's own table of opcodes has them."""

import io
import pickle
import pickletools

import pytest

from detkit.utils.pickles import check_pickle

VALUES = [
    1,
    -70_000,
    2**80,
    2.5,
    'a',
    'ä' * 300,
    b'b',
    bytearray(b'c' * 300),
    None,
    True,
    (),
    (1,),
    (1, 2, 3, 4),
    {1, 2},
]


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_read_to_its_end_and_a_part_of_it_is_none(protocol):
    data = pickle.dumps([*VALUES, {'a': VALUES, 'f': frozenset((1,)), 'type': dict}], protocol)
    file = io.BytesIO(data + b'rest')
    check_pickle(file, len(data))
    assert file.read() == b'rest'
    ends = [position for *_, position in pickletools.genops(data)]
    for end in {*ends[:40], *ends[-40:], len(data) - 1}:
        with pytest.raises(ValueError, match='pickle exhausted|not enough data|expected|no newline'):
            check_pickle(data[:end], len(data))


@pytest.mark.parametrize('byte', sorted({*range(256)} - {ord(opcode.code) for opcode in pickletools.opcodes})[::16])
def test_an_unknown_opcode_is_refused(byte):
    with pytest.raises(ValueError, match='unknown'):
        check_pickle(b'N' + bytes([byte]) + b'.', 3)


# An argument of any length is followed by the same as another one.
FIXED = [opcode for opcode in pickletools.opcodes if opcode.arg is None or opcode.arg.n > 0]


@pytest.mark.parametrize('opcode', FIXED, ids=lambda opcode: opcode.name)
def test_what_an_opcode_takes_must_be_there(opcode):
    """Each takes from the stack what the table says, and no less; a mark is missing where it takes all above one."""
    argument = b'' if opcode.arg is None else bytes(opcode.arg.n)
    needed = [each for each in opcode.stack_before if each is not pickletools.stackslice]
    needed = needed or [None] * (opcode.name in ('BINPUT', 'LONG_BINPUT'))  # which store what is on top
    given = b''.join(b'(' if each is pickletools.markobject else b'N' for each in needed)
    rest = opcode.code.encode('latin-1') + argument + (b'' if opcode.name == 'STOP' else b'N.')
    check_pickle(given + rest, 100)
    if needed:
        with pytest.raises(pickle.UnpicklingError, match='more from its stack than is there'):
            check_pickle(given[1:] + rest, 100)


def test_tuples_of_tuples_and_large_memo_indices_are_refused():
    value = (1, 2)
    for _ in range(30):
        value = (value, value)
    for protocol in (0, 2, 4):
        with pytest.raises(pickle.UnpicklingError, match='large tuples again and again'):
            check_pickle(data := pickle.dumps(value, protocol), len(data))
    with pytest.raises(pickle.UnpicklingError, match='a memo index of 1000000 in 9 bytes'):
        check_pickle(b'Nr' + (10**6).to_bytes(4, 'little') + b'.', 9)
