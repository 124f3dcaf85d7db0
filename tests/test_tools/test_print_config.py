"""tools/analyze/print_config.py from the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tool_helpers import TOOLS, run_tool

from detkit.config import load_config
from detkit.config.keys import TOP_LEVEL_KEYS

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def print_config(repo: Path, monkeypatch, capsys) -> Run:
    """Runs the tool in the repository's folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(repo)

    def run(*args: object) -> SimpleNamespace:
        code = run_tool(monkeypatch, 'analyze/print_config', *args)
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=printed.out, stderr=printed.err)

    return run


@pytest.mark.thorough
def test_the_command_line(repo):
    tool = str(TOOLS / 'analyze' / 'print_config.py')
    done = subprocess.run(
        [sys.executable, tool, 'configs/yolov8/det_n_coco8.py'], capture_output=True, text=True, cwd=repo
    )
    assert done.returncode == 0, done.stderr
    assert "model.head.type = 'YOLOv8Head'" in done.stdout


def test_every_value_has_its_place(print_config):
    done = print_config('configs/yolov8/seg_coco.py', '--cfg-options', 'size=s', 'data_root=elsewhere')
    assert done.returncode == 0, done.stderr
    places = dict(line.split(' = ', 1) for line in done.stdout.splitlines())
    assert places['model.backbone.widen_factor'].startswith('0.5')
    assert places['model.backbone.type'].endswith('# configs/_base_/models/yolov8_det.py:9')
    assert places['train_dataloader.dataset.data_root'].startswith("'elsewhere'")
    assert places['train_dataloader.dataset.data_root'].endswith('(data_root changed by an option)')
    assert places['data_root'].endswith('# command line')
    assert all('# ' in place for place in places.values())


def test_the_plain_form_is_a_config(print_config, repo, tmp_path):
    done = print_config('configs/yolov8/det_n_coco8.py', '--plain')
    assert done.returncode == 0, done.stderr
    path = tmp_path / 'plain.py'
    path.write_text(done.stdout)
    config, plain = load_config(repo / 'configs/yolov8/det_n_coco8.py'), load_config(path)
    assert {key: plain[key] for key in config if key in TOP_LEVEL_KEYS} == {
        key: config[key] for key in config if key in TOP_LEVEL_KEYS
    }
    assert load_config(path, ['img_size=320']).val_dataloader.dataset.pipeline[1].size == 320


def test_a_mistake_is_one_sentence(print_config):
    done = print_config('configs/yolov8/det_n_coco8.py', '--cfg-options', 'img_sise=320')
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('error: ') and "Did you mean 'img_size=320'" in done.stderr
    assert 'Traceback' not in done.stderr


def test_two_configs_beside_each_other(print_config):
    configs = 'configs/yolov8/det_n_coco8.py', 'configs/yolov8/seg_n_coco8.py'
    done = print_config('--diff', *configs, '--cfg-options', 'img_size=320')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [f'A: {configs[0]}', f'B: {configs[1]}']
    place = lines.index('model.head.type')
    assert "'YOLOv8Head'" in lines[place + 1] and '# configs/' in lines[place + 1]
    assert "'YOLOv8SegmentHead'" in lines[place + 2] and 'img_size' not in lines
    same = print_config('--diff', configs[0], configs[0])
    assert same.returncode == 0 and same.stdout.endswith('0 values differ\n')
    with pytest.raises(SystemExit, match='2'):
        print_config()
