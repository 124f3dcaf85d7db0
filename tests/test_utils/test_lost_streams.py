"""Commands whose terminal is gone."""

import os
import subprocess
import sys

import pytest

from detkit.utils.lost_streams import discard, outlived

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='needs terminals')

CODE = """if True:
    import os, sys
    from detkit.cli.command import run_command
    from detkit.utils.progress import ProgressBar

    def main():
        assert sys.stdout.isatty() and sys.stderr.isatty()
        print('Grüße')
        print('an error', file=sys.stderr)
        sys.stdin.readline()
        print('unseen')
        print('unseen', file=sys.stderr)
        bar = ProgressBar('bar', 2, on_stderr=True)
        bar.print('unseen')
        bar.end('unseen')
        os.write(1, b'of a library')
        return 3

    sys.exit(run_command(main, ends_process=True))
"""


def test_a_command_outlives_its_terminal():
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, '-c', CODE]
    variables = {**os.environ, 'PYTHONIOENCODING': 'utf-8'}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=slave, stderr=slave, env=variables) as process:
        os.close(slave)
        shown = b''
        while shown.count(b'\n') < 2:
            shown += os.read(master, 100)
        os.close(master)
        process.communicate(b'\n')
    assert shown.decode() == 'Grüße\r\nan error\r\n'
    assert process.returncode == 3


def test_another_error_is_none_of_the_terminal(tmp_path):
    with open(tmp_path / 'file', 'w') as file:
        for error in (OSError(5, 'of a disk'), BrokenPipeError(32, 'of a pipe')):
            with pytest.raises(OSError, match='of a'), outlived(file):
                raise error
        discard(file)
        print('unseen', file=file, flush=True)
    assert (tmp_path / 'file').read_text() == ''
