"""mmengine's formatter of configs, which reads and writes pickles in the home folder, is left out until it is used."""

import os
import subprocess
import sys

import pytest

SCRIPT = """if True:
    import importlib.util, sys
    import detkit.config, detkit.registry
    assert importlib.util.find_spec('yapf') is not None
    from mmengine.config import Config
    assert not [name for name in sys.modules if name.startswith('yapf_third_party')]
    assert Config(dict(a=[1,2])).pretty_text.split() == ['a', '=', '[', '1,', '2,', ']']
    import yapf
    import yapf.pytree.split_penalty
    from yapf.yapflib import style
    assert yapf.__version__ == sys.modules['yapf'].__version__ and yapf.main and style.CreatePEP8Style
"""


def run(home, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != 'XDG_CACHE_HOME'}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment | {'HOME': str(home)}, capture_output=True, text=True)


def test_yapf_is_imported_when_it_formats(tmp_path):
    done = run(tmp_path, '-c', SCRIPT)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_a_command_leaves_nothing_in_the_home_folder(tmp_path):
    home = tmp_path / 'home'
    home.mkdir()
    done = run(home, '-m', 'detkit', 'predict', '-', str(tmp_path / 'none.pth'), str(tmp_path))
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert list(home.rglob('*')) == []
