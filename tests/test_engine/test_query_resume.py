"""Decoders of real-time transformers: a killed run that is resumed ends as one that never stopped."""

import pytest
import torch
from tiny_configs import load_tiny

from detkit.engine import Runner, load_checkpoint

pytestmark = pytest.mark.no_cover

DEFAULT = ('deimv2/det_pico_coco8',)
OTHERS = (
    'rtdetr/seg_r18_coco8',
    'rtdetr/obb_r18_dota8',
    'dfine/seg_n_coco8',
    'deim/det_n_coco8',
    'rfdetr/seg_tiny_coco8',
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the runner handles it."""


@pytest.mark.thorough
@pytest.mark.parametrize('name', [*DEFAULT, *[pytest.param(name, marks=pytest.mark.slow) for name in OTHERS]])
def test_a_resumed_run_ends_with_the_same_weights(name, repo, tiny_data, tmp_path):
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2, max_epochs=1)
    options |= dict(epoch_samples=6) if 'dota8' in name else dict(repeat_times=3)

    def train(folder: str, stop: int | None = None, **changes) -> dict:
        hooks = {'default_hooks.checkpoint.interval_iters': 2, 'default_hooks.pictures': None}
        hooks['train_cfg.final_eval'] = False
        cfg = load_tiny(
            repo / f'configs/{name}.py', {**options, **hooks, 'work_dir': str(tmp_path / folder), **changes}
        )
        runner = Runner(cfg)
        original = runner.call_hook

        def call_hook(hook: str, **kwargs) -> None:
            original(hook, **kwargs)
            if hook == 'after_fit_iter' and runner.iter == stop:
                raise Killed

        runner.call_hook = call_hook
        runner.train()
        return load_checkpoint(tmp_path / folder / 'last.pth')

    straight = train('straight')
    with pytest.raises(Killed):
        train('killed', stop=2)
    resumed = train('killed', resume=True)
    different = [key for key, value in straight['model'].items() if not torch.equal(value, resumed['model'][key])]
    assert different == []
