"""The precision of each layer within autocast."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from detkit import Detector
from detkit.models.layers import MLP, MultiHeadAttention
from detkit.models.layers.deformable_attention import DeformableAttention
from detkit.models.layers.mlp import PreciseMLP
from detkit.models.layers.precision import autocast_type, cast_once


def input_types(module: nn.Module) -> list[torch.dtype]:
    """Return a list that each call of a linear layer within the module adds the type of its input to."""
    found: list[torch.dtype] = []
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(lambda _, args: found.append(args[0].dtype))
    return found


@pytest.fixture
def in_bfloat16():
    with torch.autocast('cpu', torch.bfloat16):
        yield


def test_the_last_layer_of_coordinates_computes_in_full_precision():
    torch.manual_seed(0)
    mlp, x = PreciseMLP(4, 64, 2, 3), torch.randn(5, 4)
    with torch.autocast('cpu', torch.bfloat16):
        y = mlp(x)
        hidden = x
        for layer in mlp.layers[:-1]:
            hidden = mlp.act(layer(hidden))
    assert hidden.dtype == torch.bfloat16 and y.dtype == torch.float32
    assert torch.equal(y, mlp.layers[-1](hidden.float()))
    y.sum().backward()
    assert all(param.grad.dtype == torch.float32 for param in mlp.parameters())


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_outside_of_autocast_it_is_an_mlp(dtype):
    mlp, x = PreciseMLP(4, 6, 2, 3).to(dtype), torch.randn(5, 4, dtype=dtype)
    plain = MLP(4, 6, 2, 3).to(dtype)
    plain.load_state_dict(mlp.state_dict())
    assert torch.equal(mlp(x), plain(x)) and mlp(x).dtype == dtype


class Adapter(nn.Module):
    """A layer around another one, as adapters of low rank are."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.base(x)


def test_the_last_layer_of_coordinates_may_be_an_adapter(in_bfloat16):
    mlp, x = PreciseMLP(4, 6, 2, 3), torch.randn(5, 4)
    plain = mlp(x)
    mlp.layers[-1] = Adapter(mlp.layers[-1])
    assert torch.equal(mlp(x), 2 * plain) and plain.dtype == torch.float32


def test_the_classes_of_detr_may_come_from_an_adapter():
    model = Detector('detr/det_r18_coco8', device='cpu').model
    with torch.no_grad():
        feats = model.extract_feat(torch.rand(1, 3, 64, 64))
        plain = model.head(feats)['cls_logits']
        model.head.fc_cls = Adapter(model.head.fc_cls)
        assert torch.equal(model.head(feats)['cls_logits'], 2 * plain)


def test_shared_inputs_are_cast_once(in_bfloat16):
    x, other, double = torch.randn(3, requires_grad=True), torch.randn(3), torch.randn(3, dtype=torch.float64)
    first, second, third, last = cast_once(x, other, x, double)
    assert first is third and first.dtype == second.dtype == torch.bfloat16
    assert second is not first and last is double  # which autocast leaves alone
    first.float().sum().backward()
    assert torch.equal(x.grad, torch.ones(3))


def test_outside_of_autocast_nothing_is_cast():
    x = torch.randn(3)
    assert cast_once(x, x)[1] is x and autocast_type('cpu') is None and autocast_type('meta') is None


def test_attention_casts_its_input_for_all_projections_together(in_bfloat16):
    attention, x = MultiHeadAttention(8, 2), torch.randn(1, 5, 8)
    seen: list[Tensor] = []
    for proj in (attention.query_proj, attention.key_proj, attention.value_proj):
        proj.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    attention(x, x, x)
    assert seen[0] is seen[1] is seen[2] and seen[0].dtype == torch.bfloat16


def test_points_stay_in_full_precision(in_bfloat16):
    attention = DeformableAttention(8, 2, (2,))
    types, maps = input_types(attention), []
    grid_sample = nn.functional.grid_sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            nn.functional, 'grid_sample', lambda x, grid, **o: maps.append(grid.dtype) or grid_sample(x, grid, **o)
        )
        attention(torch.randn(1, 3, 8), torch.rand(1, 3, 4), torch.randn(1, 16, 8), [(4, 4)])
    assert maps == [torch.float32]
    assert types.count(torch.bfloat16) >= 2  # offsets and weights share one cast
