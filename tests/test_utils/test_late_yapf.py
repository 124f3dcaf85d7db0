"""mmengine's formatter is imported where it formats something, not with each command."""

import os
import subprocess
import sys

SCRIPT = """if True:
    import importlib.util
    import sys
    from pathlib import Path

    import detkit
    import mmengine.config

    assert importlib.util.find_spec('yapf') is not None
    assert 'yapf.yapflib.style' not in sys.modules and not Path.home().joinpath('.cache', 'YAPF').exists()
    assert 'value = 1' in mmengine.config.Config(dict(value=1)).pretty_text
    assert 'yapf.yapflib.style' in sys.modules

    import yapf
    from yapf.yapflib import yapf_api

    assert yapf.__file__ and yapf.yapf_api is yapf_api and yapf_api.FormatCode('a=1')[0] == 'a = 1\\n'
"""


def test_it_is_imported_where_it_formats(tmp_path):
    environment = os.environ | {'HOME': str(tmp_path)}
    environment.pop('XDG_CACHE_HOME', None)
    done = subprocess.run([sys.executable, '-c', SCRIPT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
