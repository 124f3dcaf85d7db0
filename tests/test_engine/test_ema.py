"""Averaged weights against the formula."""

import math

import pytest
import torch
from torch import nn

from detkit.engine.hooks.ema_hook import ModelEMA


def test_update_follows_the_formula():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = ModelEMA(model, decay=0.9, tau=3)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(1, 5):
        with torch.no_grad():
            for param in model.parameters():
                param.normal_()
        model(torch.randn(4, 2))  # moves the running statistics
        ema.update()
        decay = 0.9 * (1 - math.exp(-step / 3))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor = decay * expected[name] + (1 - decay) * tensor
            expected[name] = tensor.clone()
    for name, tensor in ema.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
    assert ema.state_dict()['1.num_batches_tracked'] == 4


def test_swap_and_back():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = ModelEMA(model)
    trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        model[0].weight.add_(1)
    ema.swap()
    assert torch.equal(model[0].weight, trained['0.weight'])
    with pytest.raises(RuntimeError, match='swap back'):
        ema.state_dict()
    ema.swap()
    assert torch.equal(model[0].weight, trained['0.weight'] + 1)
    assert torch.equal(ema.state_dict()['0.weight'], trained['0.weight'])


def test_shared_weights_are_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    ema = ModelEMA(model)
    with torch.no_grad():
        model[0].weight.fill_(5)
    ema.update()
    average = ema.state_dict()
    assert set(average) == set(model.state_dict())
    assert torch.equal(average['0.weight'], average['1.weight'])
    ema.swap()
    assert not torch.equal(model[0].weight, torch.full((2, 2), 5.0))
