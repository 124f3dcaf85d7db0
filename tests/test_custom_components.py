"""A user's package beside a config adds a backbone, a neck, a loss and a hook: the example of the docs, trained."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from detkit.engine import train_from_config
from detkit.inference import Predictor
from detkit.utils.errors import ConfigError


@pytest.fixture
def project(tmp_path, repo, monkeypatch):
    """The files of docs/add_a_component.md, as they stand there."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    text = (repo / 'docs' / 'add_a_component.md').read_text()
    files = dict(re.findall(r'```python\n# (\S+\.py)\n(.*?)```', text, re.DOTALL))
    assert {
        'my_config.py',
        'my_parts/__init__.py',
        'my_parts/backbone.py',
        'my_parts/neck.py',
        'my_parts/loss.py',
        'my_parts/hook.py',
        'cells.py',
        'my_cells/__init__.py',
        'my_cells/csv_dataset.py',
        'my_cells/stain.py',
        'my_cells/centre_head.py',
    } == files.keys()
    folder = tmp_path / 'my_project'
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_the_example_of_the_docs_trains(project, repo, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = dict(
        data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2, repeat_times=2, max_epochs=1, device='cpu'
    )
    options['default_hooks.pictures'] = None
    runner = train_from_config(str(project / 'my_config.py'), options)

    model = runner.model
    assert [type(part).__name__ for part in (model.backbone, model.neck[0], model.head.loss_cls)] == [
        'PlainBackbone',
        'TopDownSum',
        'SoftFocalLoss',
    ]
    assert model.head.in_channels == (48, 48, 48) and model.head.strides == (8, 16, 32)
    assert runner.train_loop.iter == 2
    log = (tmp_path / 'work_dirs' / 'my_config' / 'train.log').read_text()
    assert re.search(r'objects shown: [1-9]', log)

    # In another process, the config in the run's folder finds the package too.
    done = subprocess.run(
        [sys.executable, str(repo / 'tools/analyze/print_config.py'), 'work_dirs/my_config/config.py'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "'PlainBackbone'" in done.stdout, done.stderr


def test_an_own_format_transform_and_head_train_and_predict(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = tmp_path / 'cells'
    cells.mkdir()
    rng = np.random.default_rng(0)
    rows = ['image,class,x0,y0,x1,y1']
    for number in range(4):
        img = rng.integers(0, 60, (64, 96, 3), np.uint8)
        x, y = 12 + 16 * number, 20
        img[y : y + 16, x : x + 16] = 255
        cv2.imwrite(str(cells / f'{number}.png'), img)
        rows.append(f'{number}.png,{"mast" if number % 2 else "blast"},{x},{y},{x + 16},{y + 16}')
    (cells / 'train.csv').write_text('\n'.join(rows) + '\n')

    options = dict(img_size=96, num_workers=0, batch_size=2, max_epochs=2, device='cpu', work_dir='run')
    options['default_hooks.pictures'] = None
    runner = train_from_config(str(project / 'cells.py'), options)
    assert runner.classes == ('blast', 'mast') and runner.model.head.num_classes == 2
    stages = [type(transform).__name__ for transform in runner.train_loop.dataloader.dataset.transforms]
    assert stages == ['LoadImageFromFile', 'LetterBox', 'Render', 'RandomStain', 'PackInputs']
    (sample,) = Predictor('run/config.py', 'run/last.pth', score_thr=0.0, max_per_img=5).predict(cells / '0.png')
    assert len(sample.pred_instances) == 5 and set(sample.pred_instances.labels.tolist()) <= {0, 1}

    # A transform in the wrong place is refused before anything is built.
    wrong = {'train_pipeline.3': dict(type='Render'), **options}
    with pytest.raises(ConfigError, match='there are two transforms that do this'):
        train_from_config(str(project / 'cells.py'), wrong)
