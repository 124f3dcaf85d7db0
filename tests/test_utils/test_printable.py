"""Texts from files, as terminals are shown them."""

import pytest

from detkit.utils.errors import ConfigError, DataError
from detkit.utils.printable import printable, shortened
from detkit.utils.tables import text_table


def test_control_characters_are_escaped():
    assert printable('a\x1b[2Jb\x07\u2028\ud800') == r'a\x1b[2Jb\x07\u2028\ud800'
    assert printable('Größe\t螺栓\n') == 'Größe\t螺栓\n'
    assert '\x1b' not in str(DataError("class '\x1b[31mred'")) and '\x1b' not in text_table(['\x1b'], [['\x1bx']])


def test_long_values_lose_their_middle():
    assert shortened('short text') == 'short text'
    found = str(ConfigError(f'names: {"x" * 100_000}, but must be a list\nsecond line'))
    assert len(found) < 3000 and '…' in found and found.endswith('but must be a list\nsecond line')
    found = str(ConfigError(f'{["ab"] * 50_000} is too much'))
    assert len(found) < 7000 and found.endswith('is too much')


@pytest.mark.parametrize('count', [1, 6000])
def test_lines_up_to_the_limit_stay(count):
    line = ' '.join(['a'] * (count // 2)) or 'a'
    assert shortened(line) == line
