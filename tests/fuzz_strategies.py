"""What fuzz tests of file readers share: damaged files of many kinds, drawn from a fixed seed."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from detkit.utils.errors import DetkitError

T = TypeVar('T')

# Hypothesis adds the constants in the sources of all local modules that the process has loaded to what it draws from,
# so that the values would depend on the tests that ran before, and on each change of the code.
providers._get_local_constants = Constants

# Cases a format: a hundred in the default suite, thousands under the marker ``slow``.
AMOUNTS = [100, pytest.param(5000, marks=pytest.mark.slow)]

# How the cases that the tests of this process have drawn so far ended; a session's last lines sum them up.
ended_cases: Counter[str] = Counter()

# Pieces that readers trip over: numbers beyond every type, words for numbers, control characters, marks of encodings.
ODD_WORDS = [
    *(
        '',
        ' ',
        '0',
        '-1',
        '1',
        '2',
        '0.5',
        '1e400',
        '-1e308',
        '1e308',
        '1e-400',
        '9' * 400,
        'nan',
        'NaN',
        'inf',
        '.inf',
    ),
    *(
        'Infinity',
        '-Infinity',
        'null',
        '~',
        'no',
        'yes',
        'true',
        '2020-01-01',
        '0x1F',
        '1_000',
        '0,5',
        '٣',
        'é',
        'e\u0301',
    ),
    *(
        '\0',
        '\t',
        '\r',
        '\n',
        '\x0b',
        '\x0c',
        '\x1c',
        '\x85',
        '\u2028',
        '\ufeff',
        '#',
        '%',
        '%00',
        '..',
        '/',
        '\\',
        'C:\\a',
    ),
    *(
        '[',
        ']',
        '{',
        '}',
        '"',
        "'",
        ',',
        ':',
        ';',
        '&',
        '*',
        '*a',
        '&a [*a]',
        '!!int x',
        '!!python/object:os.x',
        '|',
        '<<',
    ),
    *('[' * 3000, '{"a":' * 3000, 'x' * 5000, '../' * 100),
]
odd_words = st.sampled_from(ODD_WORDS)
ODD_BYTES = [word.encode() for word in ODD_WORDS] + [
    *(
        b'\xff',
        b'\xfe\xff',
        b'\xff\xfe',
        b'\xef\xbb\xbf',
        b'\x80',
        b'\xc3',
        b'\xed\xa0\x80',
        b'\xff\xfe\0\0',
        b'\0\0\xfe\xff',
    )
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(2**63), 2**64, 99999999999, 1e308])
    | st.text(max_size=8)
    | odd_words.filter(lambda word: len(word) < 1000)
)
# Anything that a JSON or YAML file may hold in place of what is expected.
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
encodings = st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32', 'latin-1', 'cp1252'])


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Draw a file's contents with up to three pieces cut out, repeated, or replaced by odd ones."""
    data = draw(contents)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(ODD_BYTES) | st.binary(max_size=4) | st.just(data[start:stop] * 2))
        data = data[:start] + piece + data[stop:]
    return data


@st.composite
def encoded(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """Draw a text in an encoding that may be none that is read, with any line ends."""
    text = draw(texts)
    text = text.replace('\n', draw(st.sampled_from(['\n', '\n', '\r\n', '\r'])))
    return text.encode(draw(encodings), errors='replace')


@st.composite
def replaced(draw: st.DrawFn, content: dict[str, Any], others: st.SearchStrategy[Any] = values) -> dict[str, Any]:
    """Draw a mapping of which some entries have other values, or are missing."""
    content = dict(content)
    for key in draw(st.lists(st.sampled_from(sorted(content)), unique=True, max_size=3)):
        if draw(st.booleans()):
            content[key] = draw(others)
        else:
            del content[key]
    return content


def run_fuzz(
    cases: int,
    strategy: st.SearchStrategy[T],
    check: Callable[[T], Any],
    may_refuse: bool = True,
    named: object = '',
) -> None:
    """Call ``check`` on drawn values; any error but detkit's own is a failure.

    Args:
        cases: the number of values.
        strategy: draws them, the same ones in every run.
        check: reads a value and asserts that the result is sound.
        may_refuse: whether an error of detkit's own is a good end, too, and one that occurs.
        named: the file that is read, which each error must name.
    """
    ends = {'read': 0, 'refused': 0}

    @settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def run(value: T) -> None:
        try:
            check(value)
        except DetkitError as error:
            if not may_refuse:
                raise
            assert len(str(error)) < 20_000  # a message that repeats a whole file helps nobody
            assert str(named) in str(error)
            ends['refused'] += 1
        else:
            ends['read'] += 1

    run()
    ended_cases.update(ends)
    ends = ends if may_refuse else {'read': ends['read']}
    assert min(ends.values()) > cases // 100, f'the cases are one-sided: {ends}'
