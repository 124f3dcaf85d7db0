"""What docs/export.md says: its program finds what detkit finds, its tables are those of the formats and the check."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from every_task import TASKS, build_plainly, write_task
from small_models import write_images

from detkit.api import Detector
from detkit.cli.main import find_command
from detkit.export import ExportSettings, differences
from detkit.export.format import ExportFormat, all_formats
from detkit.export.plan import make_plan
from detkit.utils.errors import ConfigError, MissingPackageError

TEXT = (Path(__file__).parents[2] / 'docs' / 'export.md').read_text(encoding='utf-8')


def rows(title: str) -> list[list[str]]:
    """Return the cells of the table of a section, without its head."""
    section = TEXT.split(f'\n## {title}\n')[1].split('\n## ')[0]
    lines = [line for line in section.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:]]


def test_the_program_without_detkit_finds_what_detkit_finds(tmp_path, monkeypatch, capsys):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    path = write_task(tmp_path / 'best.pth', 'yolov8 det', 128)
    write_images(tmp_path, 1, (48, 64))[0].rename(tmp_path / 'photo.jpg')
    monkeypatch.chdir(tmp_path)
    native = Detector(path, device='cpu')
    native.export('onnx', img_size=(64, 128), nms=True, max_per_img=40, images='photo.jpg')
    capsys.readouterr()
    (program,) = [block for block in re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL) if 'onnxruntime' in block]
    assert 'detkit.' not in program and len([line for line in program.splitlines() if line.strip()]) <= 24
    exec(compile(program, 'docs/export.md', 'exec'), {})
    found = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    (expected,) = Detector('best.onnx')('photo.jpg')
    assert len(found) == len(expected) > 3
    assert [line[0] for line in found] == list(expected.names)
    assert np.allclose([float(line[1]) for line in found], expected.scores, atol=1e-3)
    bboxes = [[float(number) for number in re.findall(r'-?\d+\.?\d*', line[2])] for line in found]
    inside = np.clip(bboxes, 0, [64, 48, 64, 48])  # detkit cuts boxes at the image's edges
    assert np.allclose(inside, expected.bboxes, atol=0.06)


def test_the_table_of_formats_is_that_of_the_registry():
    said = {cells[0].strip('`'): cells[1:] for cells in rows('Formats')}
    answers = {True: 'yes', False: 'no'}
    for fmt in all_formats():
        assert said.pop(fmt.name) == [
            fmt.title,
            f'`{fmt.suffix}`',
            ', '.join(fmt.dynamic) or 'no',
            answers[fmt.half],
            answers[fmt.int8],
            answers[fmt.nms],
            answers[not fmt.trusted_only],
        ]
    assert said == {}


# Columns of the table of tasks: settings, and whether a format has them at all.
ASKED = {
    'dynamic batch': (dict(dynamic='batch'), lambda fmt: 'batch' in fmt.dynamic),
    'dynamic size': (dict(dynamic='size'), lambda fmt: 'size' in fmt.dynamic),
    'half precision': (dict(half=True), lambda fmt: fmt.half),
    'int8': (dict(int8=True, calibration='photos'), lambda fmt: fmt.int8),
    'NMS inside': (dict(nms=True), lambda fmt: fmt.nms),
}


def accepted(model, formats: list[ExportFormat], **settings) -> list[str]:
    """Return the names of the formats in which a model is exported so, where their packages are installed."""
    names = []
    for fmt in formats:
        try:
            make_plan(model, ExportSettings(format=fmt.name, img_size=64, **settings))
        except MissingPackageError:  # which is looked for last
            pass
        except ConfigError:
            continue
        names.append(fmt.name)
    return names


def in_words(names: list[str], possible: list[str]) -> str:
    return 'yes' if names == possible else 'no' if not names else ', '.join(f'`{name}`' for name in names)


@pytest.mark.thorough
def test_the_table_of_tasks_is_that_of_the_plans():
    """It says which formats refuse a task, and what none but some formats do for it."""
    formats, table = all_formats(), []
    for name in TASKS:
        model = build_plainly(name, 64)
        taken = accepted(model, formats)
        refused = [f'`{fmt.name}`' for fmt in formats if fmt.name not in taken]
        row = [name, f'all but {", ".join(refused)}' if refused else 'all']
        for settings, has in ASKED.values():
            possible = [fmt.name for fmt in formats if has(fmt) and fmt.name in taken]
            row.append(in_words(accepted(model, formats, **settings), possible))
        table.append(row)
    tasks = {'det': 'boxes', 'seg': 'masks', 'pose': 'keypoints', 'obb': 'rotated boxes', 'cls': 'classes'}
    said = rows('Tasks')
    for row in said:
        family, _, task = row[0].partition(' ')
        family = family.lower().replace('-', '')  # RF-DETR
        row[0] = f'{family} {next((short for short, long in tasks.items() if long == task), task)}'
    assert said == table


def test_the_tolerances_are_those_of_the_check():
    boxes, scores, others = [[float(re.sub(r'[^\d.]', '', cell)) for cell in cells[1:]] for cells in rows('The check')]
    precisions = ('float32', 'half', 'int8')
    assert boxes == [ExportFormat().tolerances(name)[0] for name in precisions]
    assert scores == [ExportFormat().tolerances(name)[1] for name in precisions]
    assert others == [differences._RELATIVE[name] for name in precisions]


def test_the_options_are_those_of_the_command():
    parser = find_command('export').parser()
    for option in re.findall(r'`(--[\w-]+)', ' '.join(cells[0] for cells in rows('Options'))):
        assert option in parser._option_string_actions
    shown = re.findall(r'`--([\w-]+)', TEXT)
    undocumented = {each.name for each in fields(ExportSettings)} - {name.replace('-', '_') for name in shown}
    assert undocumented == {'opset', 'threads'}
