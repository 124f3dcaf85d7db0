"""Comparison of two runs bit by bit; for ``kill_and_resume.py``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from disturbed_runs import Trial
from torch import Tensor

from detkit.engine.checkpoint import load_checkpoint
from detkit.utils.errors import CheckpointError
from detkit.utils.tables import read_table

# Parts of a checkpoint that differ between two runs: times, and whether it is resumed by its own config.
TIMES = re.compile(r'meta\.(time|config_file)|loop\.elapsed')


def differences(trial: Trial, output: str) -> list[str]:
    """Return what is not as in the undisturbed run, a phrase each; ``output`` is what the last attempt printed."""
    reference, run = trial.reference.folder, trial.folder
    found = []
    lost = set()  # checkpoints that could not be written, or are damaged
    names = [{path.name for path in folder.glob('*.pth')} for folder in (reference, run)]
    for name in sorted(names[0] | names[1]):
        if name not in names[1] and trial.may_fail_to_save and name != 'last.pth':
            lost.add(name)
            continue
        if name not in names[0] & names[1]:
            found.append(f'{name} is in one of the runs only')
            continue
        try:
            own = plain_checkpoint(run / name)
        except CheckpointError:
            if name not in trial.damaged:
                raise
            lost.add(name)
            continue
        other = plain_checkpoint(reference / name)
        if trial.may_fail_to_save and name == 'best.pth' and own['meta']['epoch'] < other['meta']['epoch']:
            lost.add(name)
        else:
            found += [f'{name}: {key}' for key in unequal(other, own)]
    if 'best.pth' not in lost and printed_results(output) != trial.reference.results:
        found.append('the printed results of best.pth')
    trial.events += [f'{name} is lost or older' for name in sorted(lost)]
    for name, rows in (('scalars.json', json_rows), ('results.csv', csv_rows), ('skipped.csv', csv_rows)):
        found += [f'{name}: {key}' for key in unequal(rows(reference / name), rows(run / name))]
    found += [f'{path.name} is left' for path in [*run.glob('.*.tmp'), *run.glob('run.lock')]]
    found += [f'the folder {path.name} is left' for path in run.parent.glob(f'{run.name}-*') if path.is_dir()]
    return found


def plain_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint, its config as sorted lines without its folder, as a resumed run has them in another order."""
    checkpoint = load_checkpoint(path)
    lines = checkpoint['meta']['config'].splitlines()
    checkpoint['meta']['config'] = sorted(line for line in lines if not line.startswith(('resume = ', 'work_dir = ')))
    return checkpoint


def unequal(a: Any, b: Any, where: str = '') -> Iterator[str]:
    """Yield the keys under which two nested values differ in a bit or a type; times may differ."""
    if TIMES.fullmatch(where):
        return
    if type(a) is not type(b):
        yield f'{where} ({type(a).__name__}, {type(b).__name__})'
    elif isinstance(a, dict):
        for key in dict.fromkeys([*a, *b]):
            own = f'{where}.{key}' if where else str(key)
            if key in a and key in b:
                yield from unequal(a[key], b[key], own)
            else:
                yield f'{own} is in one of the runs only'
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield f'{where} has {len(a)} and {len(b)} entries'
        for i, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from unequal(x, y, f'{where}[{i}]')
    elif isinstance(a, Tensor):
        if (
            a.dtype != b.dtype
            or a.shape != b.shape
            or not torch.equal(*(t.flatten().view(torch.uint8) for t in (a, b)))
        ):
            yield where
    elif repr(a) != repr(b):
        yield f'{where} ({a!r:.60}, {b!r:.60})'


def json_rows(path: Path) -> list[dict[str, Any]]:
    """Return the lines of ``scalars.json`` without their times."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != 'time'} for row in rows]


def csv_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table without their times; none where there is no file."""
    rows = read_table(path)[1] if path.exists() else []
    return [{key: value for key, value in row.items() if key != 'time'} for row in rows]


def printed_results(text: str) -> str:
    """Return what a run prints about the evaluation of its best weights, without names of folders."""
    found = re.search(r'^best .*?, .*?\n(.*?)(?=^\S+ {2,}|\Z)', text, re.MULTILINE | re.DOTALL)
    return found[0].replace(found[0].splitlines()[0].split(', ')[1], '') if found else ''
