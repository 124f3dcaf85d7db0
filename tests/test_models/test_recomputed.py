"""``recomputed`` keeps no intermediate values for the gradient, which stays the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.models.layers.recomputed import recomputed


def kept_and_grads(call, x: Tensor, network: nn.Module) -> tuple[int, list[Tensor]]:
    kept = []

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        y = call(x)
    return sum(kept), [y, *torch.autograd.grad(y.square().sum(), [x, *network.parameters()])]


def test_keeps_less_with_the_same_gradient():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 100), nn.GELU(), nn.Linear(100, 3))
    x = torch.randn(5, 4, requires_grad=True)
    kept, grads = kept_and_grads(lambda x: recomputed(network, x), x, network)
    plain_kept, plain_grads = kept_and_grads(network, x, network)
    assert kept < 50 < 1000 <= plain_kept
    assert all(torch.equal(own, other) for own, other in zip(grads, plain_grads, strict=True))


def test_is_called_once_without_a_gradient():
    calls = []
    with torch.no_grad():
        assert torch.equal(recomputed(lambda x: calls.append(1) or x + 1, torch.zeros(2)), torch.ones(2))
    traced = torch.jit.trace(lambda x: recomputed(lambda x: x + 1, x), torch.zeros(2), check_trace=False)
    assert torch.equal(traced(torch.zeros(3)), torch.ones(3))
    assert calls == [1]
