"""Rates, momenta, decays and frozen layers of ultralytics' trainer, parameter by parameter."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS, build_model

from detkit.config import load_config
from detkit.converters.ultralytics_keys import YOLOV8_KEYS, yolo11_keys, yolo26_keys
from detkit.engine.finetune import freeze_modules
from detkit.engine.optim_constructor import build_optim_wrapper, resolve_optimizer
from detkit.engine.schedule import build_schedules
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError

RECORDED = Path(__file__).parents[1] / 'parity' / 'ultralytics_schedule.npz'
EPOCH_LENGTH, BATCH_SIZE, NUM_IMAGES, NUM_CLASSES = 3, 8, 20, 3
# Not one epoch of MuSGD: without a warm-up the reference leaves its momentum at 0.9, which its warm-up takes to 0.937.
RUNS = [(task, optimizer, 6) for task in ('det', 'seg', 'cls') for optimizer in ('AdamW', 'MuSGD')]
RUNS += [('det', 'AdamW', 1), ('det', 'AdamW', 2), ('det', 'AdamW', 3), ('det', 'MuSGD', 2), ('det', 'MuSGD', 3)]


def load_custom(task):
    cfg = load_config(CONFIGS / 'yolo26' / f'{task}_custom.py', need_classes=False)
    cfg.model.head.num_classes = NUM_CLASSES
    return cfg


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(('task', 'optimizer', 'epochs'), RUNS)
def test_every_parameter_is_trained_as_by_ultralytics(task, optimizer, epochs):
    recorded = np.load(RECORDED)
    names, groups = (recorded[f'{task}.{optimizer}.{key}'].tolist() for key in ('names', 'groups'))
    lr, momentum, weight_decay, accumulate = (
        recorded[f'{task}.{optimizer}.{epochs}.{key}'] for key in ('lr', 'momentum', 'weight_decay', 'accumulate')
    )
    group_of = dict(zip(names, groups, strict=True))
    cfg = load_custom(task)
    with torch.device('meta'):
        model = DETECTORS.build(cfg.model)
    keys = yolo26_keys(task, 'bottleneck')
    theirs = {id(param): group_of.pop(keys.to_theirs(name)) for name, param in model.named_parameters()}
    assert not group_of

    options = cfg.optim_wrapper.to_dict()
    if optimizer == 'MuSGD':  # as for more steps than these, which decide on nothing else
        options = resolve_optimizer(options, BATCH_SIZE, 10**6, NUM_CLASSES)
        options |= dict(accumulate=None, optimizer={**options['optimizer'], 'weight_decay': 5e-4})
    num_iters = epochs * EPOCH_LENGTH
    wrapper = build_optim_wrapper(options, model, BATCH_SIZE, num_iters, NUM_CLASSES, epochs)
    assert type(wrapper.optimizer).__name__ == optimizer
    schedules = build_schedules(cfg.param_scheduler, wrapper, EPOCH_LENGTH, epochs)
    assert len(lr) == num_iters
    for iteration in range(num_iters):
        schedules.apply(iteration)
        assert wrapper.current_accumulate == accumulate[iteration], iteration
        for group in wrapper.optimizer.param_groups:
            found = [group['lr'], group.get('momentum', 0), group['weight_decay']]
            (number,) = {theirs[id(param)] for param in group['params']}
            expected = [values[iteration, number] for values in (lr, momentum, weight_decay)]
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-15), (iteration, group['name'])


@pytest.mark.parametrize('task', ['det', 'cls'])
def test_auto_takes_the_optimiser_that_ultralytics_takes(task):
    recorded = np.load(RECORDED)
    chosen = []
    for batch_size, nominal, epochs in recorded[f'{task}.choices'].tolist():
        options = {**load_custom(task).optim_wrapper, 'nominal_batch_size': nominal}
        num_iters = -(-NUM_IMAGES // batch_size) * epochs
        chosen.append(resolve_optimizer(options, batch_size, num_iters, NUM_CLASSES, epochs)['optimizer']['type'])
    assert chosen == recorded[f'{task}.chosen'].tolist()


def test_factors_of_the_optimiser_for_long_runs_are_checked_in_short_ones():
    model = torch.nn.ModuleDict({'backbone': torch.nn.Linear(2, 2), 'head': torch.nn.Linear(2, 2)})
    optimizer = dict(type='auto', long='MuSGD', long_lr_mult={'head': 3.0})
    cfg = dict(optimizer=optimizer, paramwise_cfg=dict(lr_mult={'backbone': 0.1}), amp=False)
    rates = [
        {group['name']: group['lr'] for group in build_optim_wrapper(cfg, model, 8, steps, 6).param_groups}
        for steps in (100, 20_000)
    ]
    assert rates[0] == pytest.approx({'weight': 1e-3, 'bias': 1e-3, 'backbone.weight': 1e-4, 'backbone.bias': 1e-4})
    assert rates[1] == pytest.approx(
        {'backbone.weight': 1e-3, 'backbone.bias': 1e-3, 'head.weight': 0.03, 'head.bias': 0.03}
    )
    optimizer['long_lr_mult'] = {'neck': 3.0}
    with pytest.raises(ConfigError, match="optim_wrapper.optimizer.long_lr_mult names 'neck', which no parameter"):
        build_optim_wrapper(cfg, model, 8, 100, 6)


@pytest.mark.parametrize(
    ('family', 'freeze', 'last'),
    [('yolov8', ['backbone', 'neck.0'], 9), ('yolo11', ['backbone', 'neck.0', 'neck.1'], 10)],
)
def test_modules_of_the_layers_that_ultralytics_freezes_by_number(family, freeze, last):
    with torch.device('meta'):
        model = build_model(f'{family}_det', NUM_CLASSES)
    freeze_modules(model, freeze)
    keys = yolo11_keys('det', 'bottleneck') if family == 'yolo11' else YOLOV8_KEYS['det']
    for name, param in model.named_parameters():
        layer = int(keys.to_theirs(name).split('.')[1])
        assert param.requires_grad == (layer > last), name
    with pytest.raises(ConfigError, match='freeze is 10, but the backbone has only 5 parts.*backbone,neck.0'):
        freeze_modules(model, 10)
