"""Data of a user's own datasets, transforms and samplers must depend on the sample and the epoch alone."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from detkit.config import load_config
from detkit.datasets import EpochSampler
from detkit.engine import Runner, train_from_config
from detkit.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from detkit.utils.errors import ConfigError
from detkit.utils.rng import keyed_rng

from .dummy import DummyDataset, dummy_config

OWN = np.random.default_rng(0)
DRAWS = {
    'numpy': lambda: np.random.rand(),  # the method itself would be copied with its generator
    'python': lambda: random.random(),
    'torch': lambda: torch.rand(()).item(),
    'own': OWN.random,
    'unseeded': lambda: np.random.default_rng().random(),
}
SENTENCES = {
    'numpy': r"draws from NumPy's global generator \(numpy.random\), so that",
    'python': r"draws from Python's global generator \(random\), so that",
    'torch': "draws from PyTorch's global generator, so that",
    'own': 'gives something else at another call for the same, as by a generator or counter of its own, so that',
    'unseeded': 'gives something else at another call for the same',
}


@DATASETS.register_module(force=True)
class DrawingDataset(DummyDataset):
    def __init__(self, draw, **kwargs):
        super().__init__(**kwargs)
        self.draw = DRAWS[draw]

    def __getitem__(self, key):
        sample = super().__getitem__(key)
        return sample | {'img': sample['img'] * self.draw()}


@TRANSFORMS.register_module(force=True)
class DrawingTransform:
    stage = 'pixels'

    def __init__(self, draw=None):
        self.draw = DRAWS.get(draw)

    def __call__(self, sample):
        factor = sample.rng.random() if self.draw is None else self.draw()
        return replace(sample, img=(sample.img * factor).astype(np.uint8))


@DATA_SAMPLERS.register_module(force=True)
class OrderSampler(EpochSampler):
    def __init__(self, dataset, order, **kwargs):
        super().__init__(dataset, **kwargs)
        self.order = order

    def epoch_order(self, epoch):
        size = len(self.dataset)
        return {
            'global': lambda: np.random.permutation(size),
            'keyed': lambda: keyed_rng(self.seed, epoch).permutation(size).tolist(),
            'short': lambda: np.arange(size - 1),
            'outside': lambda: np.arange(size) + 1,
            'floats': lambda: np.arange(size) / 1,
            'later': lambda: np.arange(size - epoch),
        }[self.order]()


@pytest.mark.parametrize('draw', DRAWS)
def test_a_dataset_that_draws_is_refused(tmp_path, draw):
    runner = Runner(
        dummy_config(tmp_path / 'run', train_dataloader=dict(dataset=dict(type='DrawingDataset', draw=draw)))
    )
    with pytest.raises(ConfigError, match=rf'DrawingDataset {SENTENCES[draw]}.*draw from sample\.rng alone'):
        runner.train()
    runner.close()
    assert not (tmp_path / 'run' / 'last.pth').exists()


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('draw', [None, *DRAWS])
def test_a_transform_that_draws_is_named_with_file_and_key(tmp_path, tiny_data, repo, monkeypatch, draw):
    monkeypatch.chdir(tmp_path)
    transforms = [dict(type='DrawingTransform'), dict(type='DrawingTransform', draw=draw)]
    steps = [dict(type='LoadImageFromFile'), dict(type='LetterBox', size=64), dict(type='Render'), *transforms]
    (tmp_path / 'cfg.py').write_text(
        f'_base_ = {str(repo / "configs/yolov8/det_n_coco8.py")!r}\n'
        f'train_pipeline = {[*steps, dict(type="PackInputs")]}\n'
    )
    options = dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2, max_epochs=1, device='cpu')
    options |= {'default_hooks.pictures': None, 'work_dir': 'run'}
    if draw is None:
        assert train_from_config('cfg.py', options).epoch == 1
        return
    with pytest.raises(ConfigError, match=rf'DrawingTransform {SENTENCES[draw]}') as error:
        train_from_config('cfg.py', options)
    assert re.search(r'cfg\.py:2\b.*pipeline\.', str(error.value))


@pytest.mark.parametrize(
    ('order', 'sentence'),
    [
        ('global', r"OrderSampler draws from NumPy's global generator .*: draw from keyed_rng\(self.seed, epoch\)"),
        ('short', r'OrderSampler.epoch_order\(0\) returns 11 indices, but every epoch has epoch_size=12'),
        ('outside', r'OrderSampler.epoch_order\(0\) returns 1 to 12, but the images are 0 to 11'),
        ('floats', r'OrderSampler.epoch_order\(0\) returns float64 \(12,\), but must return indices'),
        ('later', r'OrderSampler.epoch_order\(1\) returns 11 indices'),
    ],
)
def test_an_order_that_is_none_is_refused(tmp_path, order, sentence):
    sampler = dict(type='OrderSampler', order=order)
    runner = Runner(dummy_config(tmp_path / 'run', train_dataloader=dict(sampler=sampler)))
    with pytest.raises(ConfigError, match=sentence):
        runner.train()
    runner.close()


def test_a_sampler_of_ones_own_trains_and_resumes(tmp_path):
    sampler = dict(sampler=dict(type='OrderSampler', order='keyed'))
    whole = Runner(dummy_config(tmp_path / 'whole', train_dataloader=sampler))
    whole.train()
    for epochs in (1, 4):
        parts = Runner(
            dummy_config(
                tmp_path / 'parts', train_dataloader=sampler, train_cfg=dict(max_epochs=epochs), resume=epochs > 1
            )
        )
        parts.train()
        parts.close()
    assert parts.train_loop.iter == whole.train_loop.iter == 12


def test_a_class_that_is_no_sampler_of_epochs_is_refused(repo):
    DATA_SAMPLERS.register_module(module=type('PlainSampler', (), {}), force=True)
    with pytest.raises(ConfigError, match=r'PlainSampler is no EpochSampler; write class PlainSampler\(EpochSampler\)'):
        load_config(repo / 'configs/yolov8/det_n_coco8.py', {'train_dataloader.sampler': dict(type='PlainSampler')})
