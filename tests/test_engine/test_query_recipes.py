"""Trainings of the heads whose queries are selected: they resume bit for bit, noise of denoising included."""

from pathlib import Path
from typing import Any

import pytest
import torch

from detkit.config import load_config
from detkit.engine import Runner, load_checkpoint
from detkit.models.layers.denoising import ContrastiveDenoising

from .test_resume import Killed, assert_same_end

pytestmark = pytest.mark.no_cover

SMALL = {
    'img_size': 64,
    'num_workers': 0,
    'batch_size': 2,
    'repeat_times': 3,
    'max_epochs': 2,
    'param_scheduler.warmup_epochs': 0,
    'single_class': True,
    'train_cfg.val_interval': 2,
    'optim_wrapper.accumulate': 3,
    'default_hooks.pictures': None,
    'default_hooks.checkpoint.interval_iters': 2,
    'model.backbone': dict(_delete_=True, type='CSPDarknet', deepen_factor=0.1, widen_factor=0.0625),
    'model.head.num_queries': 12,
    'model.head.decoder.num_layers': 2,
    'model.head.decoder.feedforward_dims': 32,
    'model.neck.out_channels': 32,
    'model.neck.feedforward_dims': 32,
    'model.head.decoder.embed_dims': 32,
    'model.head.decoder.num_heads': 2,
    'model.head.decoder.num_points': 2,
}
NAMES = {'rtdetr': 'det_r18_coco8', 'dfine': 'det_n_coco8'}


def train(repo: Path, name: str, tiny_data: Path, work_dir: Path, stop: int = 0, **options: Any) -> dict[str, Any]:
    """Train, and return ``last.pth``; with ``stop`` only so many iterations, after which the run is killed."""
    config = repo / 'configs' / name / f'{NAMES[name]}.py'
    runner = Runner(load_config(config, {**SMALL, **options, 'data_root': str(tiny_data), 'work_dir': str(work_dir)}))
    call_hook = runner.call_hook

    def killed(point: str, **kwargs: Any) -> None:
        call_hook(point, **kwargs)
        if point == 'after_fit_iter' and runner.iter == stop:
            raise Killed

    runner.call_hook = killed
    if stop:
        with pytest.raises(Killed):
            runner.train()
    else:
        runner.train()
    return load_checkpoint(work_dir / 'last.pth')


@pytest.mark.thorough
@pytest.mark.parametrize('name', ['rtdetr', pytest.param('dfine', marks=pytest.mark.slow)])
def test_a_run_with_denoising_resumes_bit_for_bit(repo, name, tiny_data, tmp_path, monkeypatch):
    noise: list[torch.Tensor] = []
    forward = ContrastiveDenoising.forward

    def recorded(self, *args: torch.Tensor) -> Any:
        queries = forward(self, *args)
        noise.append(queries.bboxes.detach().clone())
        return queries

    monkeypatch.setattr(ContrastiveDenoising, 'forward', recorded)
    straight = train(repo, name, tiny_data, tmp_path / 'a')
    whole = noise[-straight['loop']['iter'] :]  # before them a step is rehearsed
    noise.clear()
    part = train(repo, name, tiny_data, tmp_path / 'b', stop=2)
    assert part['optimizer']['pending'] > 0  # in the middle of an epoch and of a step
    assert_same_end(straight, train(repo, name, tiny_data, tmp_path / 'b', resume=True))
    rest = noise[-(straight['loop']['iter'] - 2) :]
    assert len(rest) > 1 and all(torch.equal(a, b) for a, b in zip(rest, whole[2:], strict=True))
    assert not torch.equal(whole[0], whole[-1])
