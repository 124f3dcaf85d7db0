"""The pages on tiles, test-time augmentation and files of predictions: their Python and their commands run."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from small_models import write_images, write_shallow_checkpoint

from detkit.cli.main import find_command, main
from detkit.inference import FolderOutputs, ViewOptions

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = ('tiles', 'tta', 'outputs')


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / f'{page}.md').read_text(encoding='utf-8')
    return re.findall(rf'```{language}\n(.*?)```', text, re.DOTALL)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the pages name; the model is small, as is the scene."""
    monkeypatch.chdir(tmp_path)
    write_shallow_checkpoint(tmp_path / 'best.pth', 'seg')
    write_images(tmp_path / 'photos', 2)
    write_images(tmp_path, 1, (700, 900))[0].rename(tmp_path / 'scene.png')
    (tmp_path / 'huge.png').write_bytes((tmp_path / 'scene.png').read_bytes())
    np.save(tmp_path / 'scene.npy', np.zeros((700, 900, 3), np.uint8))
    return tmp_path


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('page', PAGES)
def test_the_python_runs(page: str, workspace: Path):
    names: dict = {}
    for block in blocks(page, 'python'):
        exec(compile(block, page, 'exec'), names)
    assert names['model'].task == 'seg'
    if page == 'outputs':
        assert {path.name for path in (workspace / 'found').iterdir()} >= {'labels', 'predictions.csv', 'crops'}
        assert (workspace / 'stream' / 'predictions.csv').is_file()


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, 'bash') for line in block.replace('\\\n', ' ').splitlines()]


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('command', [command for page in PAGES for command in commands(page)])
def test_the_commands_run(command: str, workspace: Path):
    words = [word for word in shlex.split(command) if not word.startswith('DETKIT_')]
    assert words[0] == 'detkit'
    if words[1] == 'test':  # of configs whose data are not here
        args = find_command('test').parse_args(words[2:])
        assert ViewOptions(**{name: getattr(args, name) for name in ViewOptions.names()}).views
        return
    if '--save-parquet' in words:
        pytest.importorskip('pyarrow')
    assert main([*words[1:], '--img-size', '64', *(['--tile', '400'] if '--tile' in words else [])]) == 0


def test_the_tables_name_every_option():
    tiles, tta, outputs = ((DOCS / f'{page}.md').read_text(encoding='utf-8') for page in PAGES)
    for each in fields(ViewOptions):
        page = tta if each.name.startswith('tta') else tiles
        assert f'`{each.name}=' in page and f'{each.name.replace("_", "-")}' in page
    for each in fields(FolderOutputs):
        switch = f'`--{each.name.replace("_", "-")}`'
        assert f'| {switch} {"(on) " if each.default else ""}|' in outputs
