"""Messages that name arguments as the user gives them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detkit.cli.command import run_command
from detkit.config import load_config
from detkit.engine.run_folder import choose_run_folder
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.front_end import argument, at_the_command_line, changing, resuming

PACKAGE = Path(__file__).parents[2] / 'detkit'


def test_both_forms():
    python = argument('work_dir'), resuming(), changing(), changing('a.b', 1), changing('a', {'b': 'c'})
    assert python == ('work_dir=…', 'resume=True', 'options', "options={'a.b': 1}", "options={'a': {'b': 'c'}}")
    with at_the_command_line():
        command = argument('work_dir'), resuming(), changing(), changing('a.b', 1), changing('a', {'b': 'c'})
    assert command == (
        '--work-dir', '--resume', '--cfg-options', '--cfg-options a.b=1', '--cfg-options a="{\'b\': \'c\'}"'
    )  # fmt: skip
    assert argument('work_dir') == python[0]


def test_an_error_speaks_the_language_of_the_caller(capsys: pytest.CaptureFixture):
    def fail() -> None:
        load_config('yolov8/det_n_coco8', {'data_rot': 'x'})

    with pytest.raises(ConfigError) as caught:
        fail()
    assert 'options: ' in str(caught.value) and '--cfg-options' not in str(caught.value)
    assert run_command(fail) == 2 and '--cfg-options: ' in capsys.readouterr().err


def test_what_an_option_is_called_as_the_origin_of_a_value():
    with pytest.raises(ConfigError, match="^options: sync_bn is 'no'"):
        load_config('yolov8/det_n_coco8', {'sync_bn': 'no'})
    with at_the_command_line(), pytest.raises(ConfigError, match="^command line: sync_bn is 'no'"):
        load_config('yolov8/det_n_coco8', {'sync_bn': 'no'})


def test_a_run_to_resume():
    with pytest.raises(CheckpointError, match='resume=True alone'):
        choose_run_folder(None, 'none', 'none.pth')
    with at_the_command_line(), pytest.raises(CheckpointError, match='--resume alone'):
        choose_run_folder(None, 'none', 'none.pth')


def test_no_data():
    with pytest.raises(ConfigError, match="data='data.yaml'"):
        load_config('yolov8/det_n_custom')


def test_no_message_of_a_library_room_names_the_command_line_alone():
    """The command and its reports for a terminal may; what raises in Python too must ask ``front_end``."""
    flags = re.compile(r"""(['"]|\s)--(cfg-options|work-dir|resume|search)\b""")
    wrong = [
        f'{path.relative_to(PACKAGE)}: {line.strip()}'
        for room in ('config', 'datasets', 'engine', 'tuning', 'models', 'evaluation', 'inference', 'api', 'utils')
        for path in (PACKAGE / room).rglob('*.py')
        if path.name not in ('front_end.py', 'space.py')  # the latter reads --search itself
        for line in path.read_text(encoding='utf-8').splitlines()
        if flags.search(line) and '``' not in line and 'option=' not in line and not line.strip().startswith('#')
    ]
    assert wrong == []
