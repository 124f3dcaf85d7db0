"""An export tells nobody of itself, and leaves no identifier in the user's home folder."""

import os
import subprocess
import sys

import pytest
from small_models import write_images, write_shallow_checkpoint

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


@pytest.mark.parametrize('precision', ['float', 'int8'])
def test_an_openvino_export_sends_nothing(precision, tmp_path):
    pytest.importorskip('openvino_telemetry')
    if precision == 'int8':
        pytest.importorskip('nncf')
    path = write_shallow_checkpoint(tmp_path / 'det.pth', 'det')
    write_images(tmp_path / 'images', 4, (32, 32))
    home = tmp_path / 'home'
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ('CI', 'TF_BUILD', 'JENKINS_URL')}
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, str(path), str(tmp_path / 'images'), precision],
        env=environment | {'HOME': str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not (home / 'intel').exists()
