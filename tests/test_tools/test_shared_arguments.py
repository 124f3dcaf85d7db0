"""What the tools share stands once."""

from itertools import combinations

import pytest
from tool_helpers import TOOLS

from detkit.utils.command_line import shared_arguments

_MAX_COMMON = 9  # lines in a row that two tools may have in common


def test_no_two_tools_share_ten_lines():
    runs = {}
    for path in sorted(TOOLS.glob('analyze/*.py')):
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        runs[path.name] = {tuple(lines[i : i + _MAX_COMMON + 1]) for i in range(len(lines) - _MAX_COMMON)}
    assert len(runs) > 10
    assert [pair for pair in combinations(runs, 2) if runs[pair[0]] & runs[pair[1]]] == []


def test_arguments_come_in_the_order_asked_for():
    args = shared_arguments('config', 'checkpoint', '--iou-thr').parse_args(['a.py', 'b.pth', '--iou-thr', '0.7'])
    assert (args.config, args.checkpoint, args.iou_thr) == ('a.py', 'b.pth', 0.7)
    with pytest.raises(KeyError):
        shared_arguments('--unheard-of')
