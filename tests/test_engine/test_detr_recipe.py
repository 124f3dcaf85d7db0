"""DETR's recipe: two rates, one drop, a small clip; and that the small config learns."""

import pytest
import torch

from detkit.config import load_config
from detkit.datasets import build_dataloader
from detkit.engine import Runner
from detkit.engine.schedule import Schedules
from detkit.registry import DETECTORS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS

pytestmark = pytest.mark.no_cover

SMALL = {
    'model.head.transformer.embed_dims': 32,
    'model.head.transformer.num_heads': 2,
    'model.head.transformer.feedforward_dims': 64,
}


def optim_wrapper_of(cfg, model):
    optim_cfg = dict(cfg.optim_wrapper)
    return OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(
            type=optim_cfg.pop('constructor'), paramwise_cfg=optim_cfg.pop('paramwise_cfg'), optim_wrapper_cfg=optim_cfg
        )
    )(model)


@pytest.fixture(scope='module')
def published(repo):
    cfg = load_config(repo / 'configs/detr/det_coco.py', {'pretrained': None, 'model.backbone.depth': 18, **SMALL})
    return cfg, DETECTORS.build(cfg.model)


def test_two_groups_that_all_decay(published):
    cfg, model = published
    wrapper = optim_wrapper_of(cfg, model)
    groups = wrapper.optimizer.param_groups
    assert [(g['name'], g['lr'], g['weight_decay']) for g in groups] == [
        ('weight', 1e-4, 1e-4),
        ('backbone.weight', pytest.approx(1e-5), 1e-4),
    ]
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(len(g['params']) for g in groups) == len(trained)
    inside = {id(p) for p in model.backbone.parameters()}
    assert {id(p) for p in groups[1]['params']} == {id(p) for p in trained} & inside
    assert not any(p.requires_grad for p in (*model.backbone.conv1.parameters(), *model.backbone.layer1.parameters()))
    assert wrapper.clip_grad_norm == 0.1 and wrapper.loss_factor == 1 and wrapper.accumulate == 1


def test_the_rate_drops_once(published):
    cfg, model = published
    wrapper = optim_wrapper_of(cfg, model)
    kind = dict(cfg.param_scheduler)
    schedules = Schedules([PARAM_SCHEDULERS.build({**kind, 'optimizer': wrapper.optimizer})], epoch_length=3)
    rates = {}
    for epoch in range(cfg.max_epochs):
        schedules.apply(epoch * 3)
        rates[epoch] = [group['lr'] for group in wrapper.optimizer.param_groups]
    for epoch, factor in ((0, 1), (199, 1), (200, 0.1), (299, 0.1)):
        assert rates[epoch] == [pytest.approx(1e-4 * factor), pytest.approx(1e-5 * factor)]


def test_the_published_classes_reach_the_head(published):
    cfg, model = published
    assert cfg.model.head.num_classes == 91 and model.head.fc_cls.out_features == 92


@pytest.fixture
def coco8(repo, tiny_data):
    return lambda **options: load_config(
        repo / 'configs/detr/det_r18_coco8.py',
        {'data_root': str(tiny_data), 'img_size': 64, 'num_workers': 0, 'batch_size': 2, **options},
    )


@pytest.mark.thorough
def test_small_config_learns(coco8):
    cfg = coco8(**SMALL)
    torch.manual_seed(0)
    model = DETECTORS.build(cfg.model).train()
    wrapper = optim_wrapper_of(cfg, model)
    assert isinstance(wrapper.optimizer, torch.optim.AdamW) and len(wrapper.optimizer.param_groups) == 1
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    losses = [float(model.train_step(batch, wrapper)['loss'].detach()) for _ in range(60)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_small_config_runs_through(coco8, tmp_path):
    options = {'default_hooks.pictures': None, 'work_dir': str(tmp_path / 'run')}
    options['model.backbone'] = dict(_delete_=True, type='CSPDarknet', deepen_factor=0.1, widen_factor=0.0625)
    cfg = coco8(max_epochs=2, repeat_times=2, **options, **SMALL)
    runner = Runner(cfg)
    runner.train()
    assert runner.train_loop.best_metrics.keys() >= {'coco/bbox_mAP', 'coco/bbox_mAP50'}
    assert (tmp_path / 'run' / 'best.pth').is_file()


@pytest.mark.slow
def test_small_config_learns_its_images_by_heart(repo, tmp_path, monkeypatch):
    """A fraction of the config's work: 128 pixels, 60 epochs."""
    monkeypatch.chdir(tmp_path)
    runner = Runner(
        load_config(
            repo / 'configs/detr/det_r18_coco8.py',
            {'img_size': 128, 'max_epochs': 60, 'num_workers': 0, 'work_dir': str(tmp_path / 'run')},
        )
    )
    runner.train()
    assert runner.train_loop.best_metrics['coco/bbox_mAP50'] > 0.9
