"""YOLOv8-seg, narrow and as it is: it trains, and resumes bit for bit, in bf16 and with workers."""

import cv2
import numpy as np
import pytest
import torch

from detkit.config import load_config
from detkit.engine import Runner, load_checkpoint

pytestmark = pytest.mark.no_cover


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """Four pictures of a disc each, with its outline."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        (root / 'images' / split).mkdir(parents=True)
        (root / 'labels' / split).mkdir(parents=True)
        for i in range(4):
            image = rng.integers(60, 120, (80, 96, 3), dtype=np.uint8)
            x, y, radius = 30 + 8 * i, 40, 16 + 2 * i
            cv2.circle(image, (x, y), radius, (30, 30, 230), -1)
            cv2.imwrite(str(root / 'images' / split / f'{i}.jpg'), image)
            angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
            ring = np.stack([(x + radius * np.cos(angles)) / 96, (y + radius * np.sin(angles)) / 80], 1).clip(0, 1)
            (root / 'labels' / split / f'{i}.txt').write_text(f'{i} ' + ' '.join(f'{v:.5f}' for v in ring.flatten()))
    return root


def train(repo, data_root, work_dir, stop_after: int | None = None, num_workers: int = 0, **options) -> dict:
    cfg = load_config(
        repo / 'configs' / 'yolov8' / 'seg_n_coco8.py',
        {
            'data_root': str(data_root),
            'img_size': 64,
            'repeat_times': 4,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 1,
            'default_hooks.checkpoint.interval_iters': 5,
            'train_dataloader.num_workers': num_workers,
            'val_dataloader.num_workers': 0,
            'device': 'cpu',
            'work_dir': str(work_dir),
            'optim_wrapper.accumulate': 3,
            'param_scheduler.warmup_epochs': 0,
            'optim_wrapper.amp': 'bf16',
            **options,
        },
    )
    if cfg.default_hooks.pictures is not None:
        cfg.default_hooks.pictures.curves = False
    runner = Runner(cfg)
    call_hook = runner.call_hook

    def watch(name: str, **kwargs) -> None:
        call_hook(name, **kwargs)
        if name == 'after_fit_iter' and runner.iter == stop_after:
            raise KeyboardInterrupt

    runner.call_hook = watch
    if stop_after:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    return load_checkpoint(work_dir / 'last.pth')


@pytest.mark.parametrize(
    ('width', 'count'), [(0.0625, '675,304'), pytest.param(0.25, '3,409,952', marks=pytest.mark.slow)]
)
def test_trains_and_resumes_exactly(width, count, repo, data_root, tmp_path, capsys):
    straight = train(repo, data_root, tmp_path / 'a', widen_factor=width)
    lines = capsys.readouterr().out.splitlines()
    assert any(f'{count} parameters' in line and 'GFLOPs at 64x64' in line for line in lines)
    others = {'num_workers': 1, 'widen_factor': width, 'default_hooks.pictures': None}
    stopped = train(repo, data_root, tmp_path / 'b', stop_after=5, **others)
    assert stopped['optimizer']['pending'] > 0
    resumed = train(repo, data_root, tmp_path / 'b', resume=True, **others)
    for part in ('state_dict', 'model'):
        for name, tensor in straight[part].items():
            assert torch.equal(tensor, resumed[part][name]), f'{part}: {name}'
    assert {'train_batch0.jpg', 'val_batch0.jpg'} <= {path.name for path in (tmp_path / 'a').iterdir()}
    losses = straight['loop']['losses']
    assert losses['names'] == ['loss_box', 'loss_seg', 'loss_cls', 'loss_dfl'] and all(np.isfinite(losses['sums']))
