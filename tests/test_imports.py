"""What importing costs and needs."""

import os
import subprocess
import sys

import pytest

HEAVY = ('torch', 'mmengine', 'cv2', 'numpy')


def run_python(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True)


def test_import_of_the_package_is_light():
    done = run_python(
        '-c', f'import sys, detkit; detkit.Detector; print([name for name in {HEAVY} if name in sys.modules])'
    )
    assert done.stdout.strip() == '[]', done.stderr


@pytest.mark.parametrize(
    'tool',
    [
        'train.py',
        'test.py',
        'predict.py',
        'export.py',
        'analyze/print_config.py',
        'analyze/summarize_runs.py',
    ],
)
def test_help_of_a_tool_is_light(repo, tool):
    done = run_python('-X', 'importtime', str(repo / 'tools' / tool), '--help')
    imported = {line.split('|')[-1].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0 and 'usage:' in done.stdout
    assert imported.isdisjoint(HEAVY)


def test_the_list_of_weights_needs_no_torch():
    code = 'import sys; from detkit.cli.main import main; main(["zoo", "list"]); print("torch" in sys.modules)'
    done = run_python('-c', code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any('yolov8n' in line for line in lines) and lines[-1] == 'False'


def test_what_prediction_does_without_is_not_imported():
    code = 'import sys, detkit.inference; print([name for name in ("scipy", "matplotlib") if name in sys.modules])'
    done = run_python('-c', code)
    assert done.stdout.strip() == '[]', done.stderr


IMPORT_ALL = """
import importlib, pkgutil, sys
for name in ('pkg_resources', 'distutils'):
    sys.modules[name] = None  # importing it fails, as where setuptools is absent
import detkit
for module in pkgutil.walk_packages(detkit.__path__, 'detkit.'):
    importlib.import_module(module.name)
"""


def test_every_module_imports_without_setuptools():
    done = run_python('-c', IMPORT_ALL)
    assert done.returncode == 0, done.stderr


IMPORT_ALONE = """
import importlib, os, sys
import torch, mmengine.runner  # once for all
for name in ('datasets', 'engine', 'evaluation', 'inference', 'models', 'visualization'):
    child = os.fork()
    if child == 0:
        importlib.import_module('detkit.' + name)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit('detkit.' + name)
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs os.fork')
def test_each_package_imports_alone():
    done = run_python('-c', IMPORT_ALONE)
    assert done.returncode == 0, done.stderr
