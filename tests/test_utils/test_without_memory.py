"""Modules of which only names and shapes count, or that are filled afterwards."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from detkit.utils.without_memory import without_initial_values, without_memory


def test_modules_have_shapes_and_no_values():
    state = torch.get_rng_state()
    with without_memory():
        model = nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 6), nn.BatchNorm2d(2))
        nn.init.constant_(tensor=model[0].bias, val=1.0)
        nn.init.kaiming_normal_(model[0].weight)
        rows = F.normalize(torch.randn(7, 8), dim=1)
    assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn
    assert all(value.is_meta for value in (*model.state_dict().values(), rows))
    assert rows.shape == (7, 8) and model[1].weight.requires_grad
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape
        for name, value in nn.Sequential(nn.Linear(3, 4), nn.Embedding(5, 6), nn.BatchNorm2d(2)).state_dict().items()
    }


def test_all_is_as_before_behind_the_block():
    with without_memory():
        pass
    torch.manual_seed(0)
    first = nn.Embedding(5, 6)
    torch.manual_seed(0)
    assert torch.equal(first.weight, nn.Embedding(5, 6).weight) and not first.weight.is_meta


def test_parameters_to_be_filled_are_not_drawn():
    class Part(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2)
            self.conv = nn.ConvTranspose2d(2, 3, 2)
            self.norm = nn.BatchNorm2d(3)
            self.register_buffer('table', nn.init.constant_(torch.empty(3), 2.0), persistent=False)
            self.rows = F.normalize(torch.full((2, 4), 3.0), dim=1)

    expected = Part()
    state = torch.get_rng_state()
    with without_initial_values():
        part = Part()
    assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn
    assert part.table.eq(2).all() and part.rows.eq(0.5).all() and part.norm.running_var.eq(1).all()
    part.load_state_dict(expected.state_dict())
    for (name, value), (_, wanted) in zip(part.named_parameters(), expected.named_parameters(), strict=True):
        assert torch.equal(value, wanted) and value.requires_grad, name
    assert nn.Linear(2, 2).weight.any()  # behind the block they are drawn
