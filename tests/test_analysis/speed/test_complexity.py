import json

import pytest
import torch
from small_models import make_config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.analysis.speed.complexity import costs_table, module_costs, select, write_costs
from detkit.engine.model_cost import count_flops
from detkit.models.data_preprocessor import DetDataPreprocessor
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError


class Handmade(nn.Module):
    """A convolution from 3 to 4 channels, run twice over 4 to 4, inside a list, and an addition that no module does."""

    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = DetDataPreprocessor()
        self.first = nn.Conv2d(3, 4, 1)
        self.rest = nn.ModuleList([nn.Conv2d(4, 4, 1, bias=False), nn.Identity()])
        self.unused = nn.Linear(2, 2)
        self.rest[0].weight.requires_grad_(False)

    def forward(self, inputs: torch.Tensor, mode: str) -> torch.Tensor:
        first = self.first(inputs)
        return self.rest[1](self.rest[0](self.rest[0](first))) + first


def test_of_a_network_made_by_hand():
    costs = {cost.name: cost for cost in module_costs(Handmade().eval(), (8, 4), rounds=2)}
    assert list(costs) == ['', 'first', 'rest', 'rest.0', 'rest.1']
    indices, number = 8 * 4, 4
    assert costs['first'].macs == indices * 3 * 4 and costs['rest.0'].macs == 2 * indices * 4 * 4
    assert costs['rest'].macs == costs['rest.0'].macs and costs[''].macs == indices * (12 + 32)
    assert costs['first'].output_bytes == indices * 4 * number
    assert costs['rest.0'].output_bytes == 2 * indices * 4 * number and costs['rest.1'].output_bytes == 0
    assert costs[''].output_bytes == (1 + 2 + 1) * indices * 4 * number
    assert (costs['first'].parameters, costs['rest'].parameters, costs[''].parameters) == (16, 16, 32 + 6)
    assert (costs['rest'].trainable, costs[''].trainable) == (0, 22)
    assert costs['rest'].ms == pytest.approx(costs['rest.0'].ms + costs['rest.1'].ms)
    assert costs[''].ms > costs['first'].ms > 0
    assert [(cost.depth, cost.kind) for cost in costs.values()] == [
        (0, 'Handmade'),
        (1, 'Conv2d'),
        (1, 'ModuleList'),
        (2, 'Conv2d'),
        (2, 'Identity'),
    ]


@pytest.mark.parametrize('task', ['det', 'seg', 'pose', 'obb', 'cls'])
def test_multiply_adds_are_those_of_torch_counter(task):
    config = make_config(task)
    model = DETECTORS.build(config['model']).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 64, 96), mode='tensor')
    expected = {
        name.partition('.')[2]: sum(flops.values())
        for name, flops in counter.get_flop_counts().items()
        if name != 'Global'
    }
    total = counter.get_total_flops()
    found = {cost.name: 2 * cost.macs for cost in module_costs(model, (64, 96), rounds=1)}
    assert found[''] == count_flops(model, (64, 96)) == total > 0
    compared = {name: flops for name, flops in expected.items() if name in found and name}
    assert len(compared) > 20 and all(found[name] == flops for name, flops in compared.items())


class Attending(nn.Module):
    """Attention by PyTorch's operator, and by its module."""

    def __init__(self) -> None:
        super().__init__()
        self.data_preprocessor = DetDataPreprocessor()
        self.module = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs: torch.Tensor, mode: str) -> torch.Tensor:
        x = inputs[:, 0]  # (1, Q, 8)
        heads = x.unflatten(-1, (2, 4)).transpose(1, 2)
        x = nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)
        return self.module(x, x, x, need_weights=False)[0]


def test_attention_is_counted():
    costs = {cost.name: cost for cost in module_costs(Attending().eval(), (32, 8), rounds=1)}
    attention = 2 * 32 * 32 * 8  # of queries with keys, and of the weights with values
    assert costs['module'].macs == attention + 4 * 32 * 8 * 8
    assert costs[''].macs == costs['module'].macs + attention


@pytest.mark.parametrize(('name', 'gflops'), [('det_n', 8.74), ('seg_n', 12.00)])
def test_totals_are_the_known_ones(name, gflops):
    """Of the convolutions alone; published figures (8.9 for det_n) count normalisation too."""
    config = make_config(name[:3], tuple(map(str, range(80))))
    assert count_flops(DETECTORS.build(config['model']), (640, 640)) / 1e9 == pytest.approx(gflops, abs=0.006)


def test_modules_are_chosen_shown_and_written(tmp_path):
    costs = module_costs(DETECTORS.build(make_config('det')['model']).eval(), 64, rounds=1)
    assert [cost.name for cost in select(costs, 1)] == ['', 'backbone', 'neck', 'head']
    below = select(costs, 1, 'neck.1')
    assert below[0].name == 'neck.1' and {cost.name.count('.') for cost in below[1:]} == {2}
    assert len(select(costs, None)) == len(costs)
    assert 'CSPDarknet' in costs_table(select(costs, 1)) and '100%' in costs_table(below)
    with pytest.raises(ConfigError, match=r"no module 'heed'.*'head'"):
        select(costs, 1, 'heed')
    write_costs(costs, tmp_path / 'costs.json')
    write_costs(costs, tmp_path / 'costs.csv')
    assert len(json.loads((tmp_path / 'costs.json').read_text())) == len(costs)
    rows = (tmp_path / 'costs.csv').read_text().splitlines()
    assert len(rows) == len(costs) + 1 and rows[0].startswith('name,kind,depth,parameters')


def test_agrees_with_fvcore():
    analysis = pytest.importorskip('fvcore.nn')
    model = DETECTORS.build(make_config('det')['model']).eval()
    counted = analysis.FlopCountAnalysis(model, torch.zeros(1, 3, 64, 64))
    counted.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = counted.by_operator()
    costs = module_costs(model, 64, rounds=1)
    assert costs[0].macs == by_operator['conv']  # fvcore counts a multiply-add as one
