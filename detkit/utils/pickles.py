"""``check_pickle``: what a few bytes of a pickle may cost those who load it, told before it is loaded."""

from __future__ import annotations

import pickle
import pickletools
from typing import BinaryIO

# The most parts of tuples that a file may refer to again: each may be hashed as often, part by part.
_MOST_REPEATED = 10_000_000
_PUT, _GET = {'PUT', 'BINPUT', 'LONG_BINPUT'}, {'GET', 'BINGET', 'LONG_BINGET'}
_TUPLES = {'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3'}


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
    try:
        for opcode, argument, _ in pickletools.genops(data):
            name = opcode.name
            if name in _PUT:
                if argument > length:
                    raise pickle.UnpicklingError(f'a memo index of {argument} in {length} bytes')
                memo[argument] = sizes[-1]
            elif name in _GET or name == 'DUP':
                sizes.append(sizes[-1] if name == 'DUP' else memo.get(argument, 1))
                repeated += sizes[-1]
                if repeated > _MOST_REPEATED:
                    raise pickle.UnpicklingError('it refers to large tuples again and again')
            elif name == 'MEMOIZE':
                memo[len(memo)] = sizes[-1]
            elif name == 'MARK':
                marks.append(len(sizes))
            elif name == 'POP' and marks and marks[-1] == len(sizes):
                marks.pop()
            elif opcode.stack_before or opcode.stack_after:
                before = opcode.stack_before
                if pickletools.markobject in before:
                    start = marks.pop() - before.index(pickletools.markobject)
                else:
                    start = len(sizes) - len(before)
                if start < 0:
                    raise IndexError
                taken = sum(sizes[start:]) if name in _TUPLES else 0
                del sizes[start:]
                sizes += [1 + taken] * len(opcode.stack_after)
    except IndexError as error:
        raise pickle.UnpicklingError('it takes more from its stack than is there') from error
