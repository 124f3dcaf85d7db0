"""An export tells nobody of itself, and leaves no identifier in the user's home folder."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_models import write_images, write_shallow_checkpoint

from detkit.utils.usage_data import without_usage_data

SCRIPT = """if True:
    import sys
    from openvino_telemetry.utils.sender import TelemetrySender

    sent = []
    TelemetrySender.send = lambda self, backend, message, *rest: sent.append(message)
    from detkit import Detector
    path, images, int8 = sys.argv[1], sys.argv[2], sys.argv[3] == 'int8'
    options = dict(int8=True, calibration=images, tolerance=1000) if int8 else {}
    Detector(path, device='cpu').export('openvino', images=images, img_size=32, dynamic=False, **options)
    assert not sent, sent
    import os
    assert 'CI' not in os.environ
"""
ONNX_SCRIPT = """if True:
    import sys
    from detkit import Detector
    Detector(sys.argv[1], device='cpu').export('onnx', images=sys.argv[2], img_size=32, dynamic=False)
    import os
    assert not {'CI', 'ORT_DISABLE_TELEMETRY'} & os.environ.keys()
"""


# By any of these the packages may know that nobody uses them by hand.
SILENT = ('CI', 'TF_BUILD', 'JENKINS_URL', 'GITHUB_ACTIONS', 'ORT_DISABLE_TELEMETRY', 'XDG_CACHE_HOME', 'MPLCONFIGDIR')


# A user whom the system does not know, and who has no variable HOME.
NO_HOME = """if True:
    import os, pwd

    def getpwuid(number):
        raise KeyError(number)

    pwd.getpwuid = getpwuid
    del os.environ['HOME']
    assert os.path.expanduser('~') == '~'
"""


def run_export(script: str, precision: str, folder: Path) -> Path:
    """Export in a process of its own with an empty home folder, which is returned."""
    if precision == 'int8':
        pytest.importorskip('nncf')
    path = write_shallow_checkpoint(folder / 'det.pth', 'det')
    write_images(folder / 'images', 4, (32, 32))
    home = folder / 'home'
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in SILENT}
    done = subprocess.run(
        [sys.executable, '-c', script, str(path), str(folder / 'images'), precision],
        env=environment | {'HOME': str(home), 'TMPDIR': str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return home


@pytest.mark.thorough
@pytest.mark.parametrize('precision', ['float', 'int8'])
def test_an_openvino_export_sends_nothing(precision, tmp_path):
    pytest.importorskip('openvino_telemetry')
    assert not (run_export(SCRIPT, precision, tmp_path) / 'intel').exists()


@pytest.mark.thorough
def test_a_user_without_a_home_exports(tmp_path):
    pytest.importorskip('openvino_telemetry')
    pytest.importorskip('pwd')
    home = run_export(
        NO_HOME + SCRIPT.removeprefix('if True:') + "    assert 'HOME' not in os.environ\n", 'float', tmp_path
    )
    assert not list(home.iterdir())


@pytest.mark.thorough
def test_onnx_runtime_keeps_no_identifier(tmp_path):
    # Where it reports, it first writes an identifier and a database of events there.
    pytest.importorskip('onnxruntime')
    home = run_export(ONNX_SCRIPT, 'float', tmp_path)
    assert not [path for path in home.rglob('*') if 'onnxruntime' in path.name]


def test_threads_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv('CI', raising=False)

    def work() -> None:
        with without_usage_data():
            assert os.environ['CI'] == 'true'
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(20)]:
            done.result()
    assert 'CI' not in os.environ
