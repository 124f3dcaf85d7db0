"""The notebooks of the tutorials run, cell by cell."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from detkit.config import load_config
from detkit.sample_data import SAMPLES

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / 'docs' / 'tutorials').glob('*.ipynb'))
# The settings of every tutorial, as a test has them; and a narrow network.
SMALL = {'epochs': 1, 'img_size': 64, 'num_workers': 0}
NARROW = {'widen_factor': 0.125}
# How many images are drawn; of coco8-seg there are eight in any case.
FEW_IMAGES = {
    'coco8-pose': {'num_train': 2, 'num_val': 1},
    'dota8': {'num_train': 2, 'num_val': 1},
    'weather': {'num_train': 8, 'num_test': 2},
}


def read_cells(notebook: Path) -> list[dict]:
    return json.loads(notebook.read_text(encoding='utf-8'))['cells']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder of sample sets, which tutorials share."""
    return tmp_path_factory.mktemp('data')


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('notebook', TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(notebook, data, scenes_drawn_once, charts_drawn_once, tmp_path, monkeypatch):
    (tmp_path / 'data').symlink_to(data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('DETKIT_SAMPLE_URL', '')
    for name, counts in FEW_IMAGES.items():
        monkeypatch.setitem(SAMPLES, name, replace(SAMPLES[name], render=partial(SAMPLES[name].render, **counts)))
    variables = {'__name__': '__main__'}
    for number, cell in enumerate(cell for cell in read_cells(notebook) if cell['cell_type'] == 'code'):
        exec(compile(''.join(cell['source']), f'{notebook.name}, code cell {number}', 'exec'), variables)
        if 'parameters' in cell['metadata'].get('tags', ()):
            assert SMALL.keys() == variables['settings'].keys()
            variables['settings'] |= SMALL | NARROW
    plt.close('all')
    assert (variables['run'] / 'best.pth').is_file()
    assert variables['results'] and all(result.error is None for result in variables['results'])
    task = load_config(variables['run'] / 'config.py').task
    assert load_config('my_config.py').task == task == variables['model'].task


@pytest.mark.parametrize('notebook', TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_short_and_clean(notebook):
    cells = read_cells(notebook)
    code = [cell for cell in cells if cell['cell_type'] == 'code']
    assert 8 <= len(cells) <= 14 and [cell['outputs'] for cell in code] == [[]] * len(code)
    assert all(cell['execution_count'] is None for cell in code)


def test_each_task_has_a_tutorial():
    texts = [''.join(line for cell in read_cells(path) for line in cell['source']) for path in TUTORIALS]
    opened = [re.search(r"Detector\('yolov8/(\w+?)_", text).group(1) for text in texts]
    assert sorted(opened) == ['cls', 'det', 'obb', 'pose', 'seg']
