"""Running a command line in this process, and a dataset small enough for it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from detkit.cli.command import run_command

TOOLS = Path(__file__).parents[2] / 'tools'


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'detkit_tool_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: object) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
    return run_command(load_tool(name).main)


def run_test(
    monkeypatch: pytest.MonkeyPatch, config: Path, checkpoint: Path, options: list[str], out: Path | None, *more: object
) -> int:
    """Run tools/test.py on the CPU; ``out`` gets ``p.json`` and the folder ``pictures``."""
    files = ('--out', out / 'p.json', '--show-dir', out / 'pictures') if out else ()
    arguments = ('--device', 'cpu', *files, *more, '--cfg-options', *options)
    return run_tool(monkeypatch, 'test', config, checkpoint, *arguments)


def run_predict(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, source: Path, out: Path, *more: object) -> int:
    """Run tools/predict.py with a checkpoint alone, at 64 pixels on the CPU."""
    return run_tool(
        monkeypatch, 'predict', '-', checkpoint, source, '--out-dir', out, '--img-size', 64, '--device', 'cpu', *more
    )


def assert_drawn_on(pictures: dict[str, np.ndarray], originals: list[Path]) -> None:
    """Check that each picture is its original with something clearly drawn on it."""
    assert sorted(pictures) == sorted(f'{path.stem}.jpg' for path in originals)
    for path in originals:
        plain, drawn = cv2.imread(str(path)), pictures[f'{path.stem}.jpg']
        assert drawn.shape == plain.shape and abs(drawn.astype(int) - plain).max() > 60


def assert_side_by_side(pictures: dict[str, np.ndarray], originals: list[Path]) -> None:
    """Check that each picture shows its original twice, with ground truth and with predictions."""
    assert sorted(pictures) == sorted(f'{path.stem}.jpg' for path in originals)
    for path in originals:
        height, width = cv2.imread(str(path)).shape[:2]
        shown = pictures[f'{path.stem}.jpg']
        assert shown.shape[0] >= height and shown.shape[1] >= 2 * width
        assert abs(shown[:, :width].astype(int) - shown[:, -width:]).max() > 60


def modules_loaded_by_help(name: str) -> set[str]:
    """The top-level modules that ``tools/<name>.py --help`` imports."""
    code = (
        'import runpy, sys\n'
        f'sys.argv = [{name!r}, "--help"]\n'
        'try:\n'
        f'    runpy.run_path({str(TOOLS / name)!r} + ".py", run_name="__main__")\n'
        'except SystemExit as end:\n'
        '    assert end.code == 0\n'
        'print(*{module.split(".")[0] for module in sys.modules}, file=sys.stderr)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert 'usage:' in done.stdout
    return set(done.stderr.split())


def write_yolo_set(root: Path) -> Path:
    """Three images to train on and two to validate on, each with two outlined objects."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 3), ('val', 2)):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            img = cv2.resize(rng.integers(0, 256, (6, 9, 3), np.uint8), (90, 60), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(root / 'images' / split / f'{split}{i}.png'), img)
            (root / 'labels' / split / f'{split}{i}.txt').write_text(
                '0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n16 0.4 0.3 0.9 0.4 0.8 0.9 0.4 0.8\n'
            )
    return root
