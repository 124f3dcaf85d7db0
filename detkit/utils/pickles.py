"""``check_pickle``: what a few bytes of a pickle may cost those who load it, told before it is loaded."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

# The most parts of tuples that a file may refer to again: each may be hashed as often, part by part.
_MOST_REPEATED = 10_000_000
# The effect of an opcode: it stores the top of the stack in the memo, pushes a value of the memo, pushes a mark, or
# pops values (with _TAKE_TO_MARK also all above the last mark) and pushes others.
_STORE, _MEMOIZE, _RECALL, _DUPLICATE, _MARK, _POP, _GIVE_ONE, _TAKE, _TAKE_TO_MARK = range(9)
_KINDS = {
    **dict.fromkeys(('PUT', 'BINPUT', 'LONG_BINPUT'), _STORE),
    **dict.fromkeys(('GET', 'BINGET', 'LONG_BINGET'), _RECALL),
    'MEMOIZE': _MEMOIZE,
    'DUP': _DUPLICATE,
    'MARK': _MARK,
    'POP': _POP,
}
_TUPLES = {'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3'}


def _step_of(opcode: pickletools.OpcodeInfo) -> tuple[Callable[[BinaryIO], Any] | None, int, int, int, bool]:
    """Return the reader of an opcode's argument, its kind, how many values it takes and gives, whether as a tuple."""
    before, given = opcode.stack_before, len(opcode.stack_after)
    taken, kind = len(before), _GIVE_ONE if not before and given == 1 else _TAKE
    if pickletools.markobject in before:
        taken, kind = before.index(pickletools.markobject), _TAKE_TO_MARK
    reader = opcode.arg.reader if opcode.arg is not None else None
    return reader, _KINDS.get(opcode.name, kind), taken, given, opcode.name in _TUPLES


# By the byte in a file.
_STEPS = {opcode.code.encode('latin-1'): _step_of(opcode) for opcode in pickletools.opcodes}


def check_pickle(data: bytes | BinaryIO, length: int) -> None:
    """Refuse a pickle that takes memory or time without limit; a file is left behind its end.

    Two kinds do: large memo indices, as an unpickler may allocate all smaller ones; and tuples of tuples that are there
    once and referred to often. Forty that each hold the one before twice are a few hundred bytes, and a dict of which
    they are a key hashes 2^40 parts.

    Args:
        data: the pickle, or a file at its beginning.
        length: bytes that it may have.

    Raises:
        pickle.UnpicklingError: it is such a pickle, or takes more from its stack than is there.
        ValueError: it is no pickle.
    """
    sizes: list[int] = []  # of what is on the stack, in parts of tuples
    marks: list[int] = []
    memo: dict[int, int] = {}
    repeated = 0
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    read, code = file.read, b''
    try:
        while code != pickle.STOP:
            code = read(1)
            if code not in _STEPS:
                raise ValueError(f'opcode {code!r} unknown' if code else 'pickle exhausted before seeing STOP')
            reader, kind, taken, given, is_tuple = _STEPS[code]
            argument = None if reader is None else reader(file)
            if kind == _GIVE_ONE:
                sizes.append(1)
            elif kind == _STORE:
                if argument > length:
                    raise pickle.UnpicklingError(f'a memo index of {argument} in {length} bytes')
                memo[argument] = sizes[-1]
            elif kind == _RECALL or kind == _DUPLICATE:
                sizes.append(memo.get(argument, 1) if kind == _RECALL else sizes[-1])
                repeated += sizes[-1]
                if repeated > _MOST_REPEATED:
                    raise pickle.UnpicklingError('it refers to large tuples again and again')
            elif kind == _MARK:
                marks.append(len(sizes))
            elif kind == _MEMOIZE:
                memo[len(memo)] = sizes[-1]
            elif kind == _POP and marks and marks[-1] == len(sizes):
                marks.pop()
            else:
                start = (marks.pop() if kind == _TAKE_TO_MARK else len(sizes)) - taken
                if start < 0:
                    raise IndexError
                size = 1 + sum(sizes[start:]) if is_tuple else 1
                del sizes[start:]
                sizes += [size] * given
    except IndexError as error:
        raise pickle.UnpicklingError('it takes more from its stack than is there') from error
