"""The hook and the metric of docs/training.md, run as they are printed."""

import re

from builders import read_pictures
from mmengine.config import Config

from detkit.config import load_config
from detkit.engine import Runner


def test_a_hook_and_a_metric_of_the_docs(repo, tmp_path, tiny_data, monkeypatch):
    blocks = re.findall(r'```python\n# (my_\w+\.py)\n(.*?)```', (repo / 'docs' / 'training.md').read_text(), re.S)
    for name, code in blocks:
        (tmp_path / name).write_text(code.replace("'detkit/configs/", f"'{repo}/configs/"))
    monkeypatch.syspath_prepend(str(tmp_path))
    options = dict(
        data_root=str(tiny_data),
        img_size=64,
        batch_size=2,
        num_workers=0,
        max_epochs=1,
        device='cpu',
        work_dir=str(tmp_path / 'run'),
        custom_imports=dict(imports=['my_hooks', 'my_metrics']),
    )
    cfg: Config = load_config(tmp_path / 'my_config.py', options)
    cfg.val_evaluator = [cfg.val_evaluator, dict(type='CountMetric')]
    cfg.train_cfg.best_metric = 'count/error'
    cfg.default_hooks.pictures = None
    runner = Runner(cfg)
    runner.train()
    assert 'first_image.png' in read_pictures(tmp_path / 'run')
    assert runner.train_loop.best_fitness == -runner.train_loop.best_metrics['count/error']
    assert ' error ' in (tmp_path / 'run' / 'train.log').read_text()
