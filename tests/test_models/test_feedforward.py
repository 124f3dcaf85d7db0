"""``feedforward`` gives what the two layers give, with the same gradients, and steps aside where someone looks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import detkit.models.layers.feedforward as module
from detkit.models.layers import DETRTransformer
from detkit.models.layers.feedforward import feedforward
from detkit.models.layers.linear import Linear
from detkit.models.layers.packed import can_pack, computes_in

DIMS, HIDDEN, ROWS = 16, 40, (2, 160)
FROZEN = ('x', 'first.weight', 'first.bias', 'last.weight', 'last.bias', 'first', 'last', 'all')
ACTS = {'relu': F.relu, 'gelu': F.gelu, 'ReLU': nn.ReLU(), 'GELU': nn.GELU()}


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Record the calls of the function that stands for the layers."""
    found, apply = [], module._FeedForward.apply

    def recorded(*args):
        found.append(args[-1])
        return apply(*args)

    monkeypatch.setattr(module._FeedForward, 'apply', recorded)
    return found


def layers_and_input() -> tuple[Linear, Linear, Tensor]:
    torch.manual_seed(0)
    return Linear(DIMS, HIDDEN), Linear(HIDDEN, DIMS), torch.randn(*ROWS, DIMS, requires_grad=True)


def plain(first: nn.Module, act, last: nn.Module, x: Tensor) -> Tensor:
    return last(act(first(x)))


def values_and_grads(function, act, first: Linear, last: Linear, x: Tensor) -> list[Tensor | None]:
    y = function(first, act, last, x)
    wanted = [each for each in (x, *first.parameters(), *last.parameters()) if each.requires_grad]
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape)  # each output has another gradient
    return [y, *torch.autograd.grad((y.float() * weights).sum(), wanted)]


@pytest.mark.parametrize('act', ACTS)
@pytest.mark.parametrize('half', [False, True], ids=['float32', 'bf16'])
def test_equals_the_layers(act, half, calls):
    first, last, x = layers_and_input()
    if half and not (can_pack() and computes_in(torch.bfloat16)):
        pytest.skip('this processor has no products in bfloat16')
    with torch.autocast('cpu', torch.bfloat16, enabled=half):
        found = values_and_grads(feedforward, ACTS[act], first, last, x)
        expected = values_and_grads(plain, ACTS[act], first, last, x)
    assert calls == [act.lower()]
    tolerance = 0.02 if half else 1e-5
    for own, other in zip(found, expected, strict=True):
        assert own.dtype == other.dtype and own.is_contiguous()
        assert (own - other).abs().max() <= tolerance * other.abs().max()


@pytest.mark.parametrize('act', ['relu', 'gelu'])
@pytest.mark.parametrize('frozen', FROZEN)
def test_computes_the_gradients_that_are_asked_for(act, frozen, calls):
    first, last, x = layers_and_input()
    x.requires_grad_(frozen != 'x')
    for prefix, layer in (('first', first), ('last', last)):
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(frozen not in ('all', prefix, f'{prefix}.{name}'))
    found, expected = (values_and_grads(function, ACTS[act], first, last, x) for function in (feedforward, plain))
    assert calls == [act]
    for own, other in zip(found, expected, strict=True):
        assert torch.allclose(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('act', ['relu', 'gelu'])
def test_gradients_can_be_differentiated(act, calls):
    def second_gradients(function) -> list[Tensor]:
        first, last, x = layers_and_input()
        (grad,) = torch.autograd.grad(function(first, ACTS[act], last, x).square().sum(), x, create_graph=True)
        return list(torch.autograd.grad(grad.square().sum(), (x, first.weight, last.weight)))

    for own, other in zip(second_gradients(feedforward), second_gradients(plain), strict=True):
        assert torch.allclose(own, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
    assert calls == [act]


class _Adapted(Linear):
    """A linear layer whose class is the user's."""


def test_layers_that_someone_looks_at_are_called(calls):
    first, last, x = layers_and_input()
    seen = []
    for layer in (first, last, ACTS['GELU']):
        handle = layer.register_forward_hook(lambda *_: seen.append(1))
        feedforward(first, ACTS['GELU'], last, x).sum().backward()
        handle.remove()
    assert seen == [1, 1, 1]  # once each, not again for the gradient
    feedforward(first, F.relu, _Adapted(HIDDEN, DIMS), x).sum().backward()
    feedforward(first, nn.GELU(approximate='tanh'), last, x).sum().backward()
    with FlopCounterMode(display=False) as counter:
        feedforward(first, F.relu, last, x)
    assert counter.get_total_flops() == 2 * 2 * ROWS[0] * ROWS[1] * DIMS * HIDDEN
    feedforward(first.double(), F.relu, last.double(), x.double()).sum().backward()
    assert not calls


def test_random_adapters_are_not_computed_again():
    torch.manual_seed(0)
    first, last = Linear(DIMS, HIDDEN), nn.Sequential(nn.Dropout(0.5), nn.Linear(HIDDEN, DIMS, bias=False))
    y = feedforward(first, F.gelu, last, torch.randn(*ROWS, DIMS))
    (grad,) = torch.autograd.grad(y.square().sum() / 2, last[1].weight)
    # For y = x Wᵀ, W · dW = Σ y²: only with the values that the output was computed from.
    assert torch.allclose((grad * last[1].weight).sum(), y.square().sum(), rtol=1e-4)


@pytest.mark.parametrize('dropout', [0.0, 0.1])
def test_layers_of_transformers_use_it_without_dropout(dropout, calls):
    torch.manual_seed(0)
    transformer = DETRTransformer(DIMS, 2, 1, 1, HIDDEN, dropout)
    cells, queries = torch.randn(2, 160, DIMS), torch.randn(150, DIMS)
    transformer(cells, torch.zeros(1, 160, DIMS), queries).decoded.sum().backward()
    assert len(calls) == (0 if dropout else 2)
