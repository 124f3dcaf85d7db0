"""Commands where terminals, pipes and the locale have another encoding than UTF-8."""

import logging
import os
import subprocess
import sys

import pytest

from detkit.engine.console import Console

TEXT = 'Käfer … 甲虫'
# A locale that Python does not replace by UTF-8, and pipes of encodings of their own.
ENVIRONMENTS = {
    'C': dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'),
    'latin-1': dict(PYTHONIOENCODING='latin-1'),
    'cp1252': dict(PYTHONIOENCODING='cp1252'),
    'utf-8': dict(PYTHONIOENCODING='utf-8'),
}


def run(code: str, **environment: str) -> bytes:
    done = subprocess.run([sys.executable, '-c', code], env={**os.environ, **environment}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors='replace')
    return done.stdout.strip()


@pytest.mark.parametrize('name', ENVIRONMENTS)
def test_what_cannot_be_shown_is_escaped(name):
    code = f"""
import sys
from detkit.cli import main
main.COMMANDS = ('configs',)
from detkit.cli import configs
configs.run = lambda args: print({TEXT!a})
sys.exit(main.main(['configs']))
"""
    found = run(code, **ENVIRONMENTS[name])
    encoding = {'C': 'ascii'}.get(name, name)
    assert found == TEXT.encode(encoding, 'backslashreplace')


def test_a_choice_of_the_user_stays():
    code = f'from detkit.cli.command import run_command; run_command(lambda: print({TEXT!a}))'
    assert run(code, PYTHONIOENCODING='ascii:replace') == TEXT.encode('ascii', 'replace')


@pytest.mark.thorough
def test_the_log_of_a_run_is_utf_8(tmp_path):
    code = f"""
from mmengine.logging import MMLogger
from detkit.engine.console import Console, LogFiles
for line in ({TEXT!a}, {TEXT!a}):  # appended to, as by a run that is resumed
    logger = MMLogger(line + str(id(line)), log_file={str(tmp_path / 'train.log')!r}, file_mode='a')
    console = Console(logger)
    files = LogFiles(logger, console, capture_warnings=False)
    logger.info(line)
    files.close()
"""
    shown = run(code, **ENVIRONMENTS['C'])
    assert b'cannot be written' not in shown
    log = (tmp_path / 'train.log').read_bytes().decode()
    assert log.count(TEXT) == 2


@pytest.mark.skipif(os.name != 'posix', reason='closes streams by a shell')
@pytest.mark.parametrize('closed', ['>&-', '2>&-', '<&- >&- 2>&-'])
def test_closed_streams_go_nowhere(tmp_path, closed):
    code = """
import os, sys
from detkit.cli import configs, main
main.COMMANDS = ('configs',)

def run(args):
    with open(sys.argv[1], 'w') as file:
        os.write(1, b'of a library')
        os.write(2, b'of a library')
        print('out')
        print('err', file=sys.stderr)
        file.write(f'{file.fileno() > 2} {sys.stdin.isatty()} {sys.stdin.read()!r}')
    return 3

configs.run = run
sys.exit(main.run_command(lambda: main.find_command('configs').main(['yolov8']), ends_process=True))
"""
    command = f'exec "$0" -c "$1" "$2" {closed}'
    done = subprocess.run(
        ['sh', '-c', command, sys.executable, code, tmp_path / 'file'], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert done.returncode == 3, done.stderr
    assert (tmp_path / 'file').read_text() == "True False ''"
    assert done.stdout == (b'' if '>&-' in closed.split() else b'of a libraryout\n')
    assert done.stderr == (b'' if '2>&-' in closed.split() else b'of a libraryerr\n')


def test_the_console_of_a_process_without_streams(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)
    console = Console(logging.getLogger('no-streams'))
    console.start_bar('title', 2)
    console.line('text')
    assert not console.is_terminal
