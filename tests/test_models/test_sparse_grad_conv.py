"""A convolution that leaves out cells without a gradient has the gradients of any other."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from detkit.models.heads import RPNHead
from detkit.models.layers import sparse_grad_conv
from detkit.models.layers.sparse_grad_conv import SparseGradConv2d
from detkit.models.layers.towers import build_tower


def plain_of(conv: SparseGradConv2d) -> nn.Conv2d:
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
    plain.load_state_dict(conv.state_dict())
    return plain.to(conv.weight.dtype)


def grad_at(cells: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a gradient at the corners of the first image and at some cells of all."""
    grad = torch.zeros(shape, dtype=dtype)
    rows = grad.permute(0, 2, 3, 1).reshape(-1, shape[1])
    rows[torch.randperm(len(rows))[:cells]] = torch.randn(cells, shape[1], dtype=dtype)
    grad = rows.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2).clone()
    grad[0, :, [0, 0, -1, -1], [0, -1, 0, -1]] = 1.0 if cells else 0.0
    return grad


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last'])
@pytest.mark.parametrize('cells', [0, 9, 190], ids=['none', 'few', 'most'])
@pytest.mark.parametrize('side', [1, 3])
def test_gradients_are_those_of_a_convolution(side, cells, layout, monkeypatch):
    monkeypatch.setattr(sparse_grad_conv, '_CHUNK', 5)
    torch.manual_seed(0)
    conv = SparseGradConv2d(3, 4, side).double()
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    grad = grad_at(cells, (2, 4, 8, 12), torch.float64)
    found = []
    for layer in (conv, plain_of(conv)):
        y = layer(x)
        found.append([y, *torch.autograd.grad(y, [x, layer.weight, layer.bias], grad)])
    for own, plain in zip(*found, strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-12, atol=1e-12)


def test_cells_without_a_gradient_are_left_out(monkeypatch):
    torch.manual_seed(0)
    conv, x = SparseGradConv2d(3, 4, 3), torch.randn(1, 3, 16, 16, requires_grad=True)
    y, numbers = conv(x), []
    sparse = sparse_grad_conv._sparse_grads
    monkeypatch.setattr(
        sparse_grad_conv, '_sparse_grads', lambda rows, *others: numbers.append(len(rows)) or sparse(rows, *others)
    )
    y[0, :, 3, 4:7].sum().backward()
    assert numbers == [3]
    conv(x).sum().backward()  # of all cells: by a convolution
    assert numbers == [3]


def test_autocast_and_a_weight_that_others_use():
    torch.manual_seed(0)
    conv, x = SparseGradConv2d(8, 8, 3), torch.randn(1, 8, 16, 16)
    plain, found = plain_of(conv), []
    for layer in (conv, plain):
        with torch.autocast('cpu', torch.bfloat16):
            y = layer(x)
            loss = y[..., :2, :2].float().square().sum() + nn.functional.conv2d(x, layer.weight)[..., :1].float().sum()
        loss.backward()
        assert y.dtype is torch.bfloat16 and layer.weight.grad.dtype is torch.float32
        found.append([layer.weight.grad, layer.bias.grad])
    for own, other in zip(*found, strict=True):
        assert (own - other).abs().max() <= 0.02 * other.abs().max()


def test_gradients_can_be_differentiated_again():
    torch.manual_seed(0)
    conv, x, found = SparseGradConv2d(3, 4, 3).double(), torch.randn(1, 3, 6, 6, dtype=torch.float64), []
    for layer in (conv, plain_of(conv)):
        own = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(layer(own)[..., 0].square().sum(), own, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), [own, layer.weight]))
    for own, other in zip(*found, strict=True):
        assert own.abs().sum() > 0
        torch.testing.assert_close(own, other)


def test_what_is_not_learnt_has_no_gradient():
    conv, x = SparseGradConv2d(3, 4, 3, bias=False), torch.randn(1, 3, 6, 6)
    conv(x)[..., 0].sum().backward()
    assert conv.weight.grad.abs().sum() > 0
    conv.weight.requires_grad_(False)
    assert not conv(x).requires_grad
    x.requires_grad_()
    conv(x)[..., 0].sum().backward()
    assert x.grad.abs().sum() > 0


def test_a_head_learns_the_same_of_few_cells():
    torch.manual_seed(0)
    head = RPNHead(in_channels=(8, 8), strides=(8, 16), feat_channels=8, num_convs=2).double()
    plain = copy.deepcopy(head)
    plain.convs = build_tower(8, 8, 2).double()
    plain.convs.load_state_dict(head.convs.state_dict())
    plain.conv_objectness, plain.conv_bbox = plain_of(head.conv_objectness), plain_of(head.conv_bbox)
    found, feats = [], [torch.randn(2, 8, side, side, dtype=torch.float64) for side in (24, 12)]
    for each in (head, plain):
        preds = each(feats)
        assert isinstance(each.conv_bbox, SparseGradConv2d) == (each is head)
        sum(level[:, :, 2, 1:3].square().sum() for levels in preds.values() for level in levels).backward()
        found.append([param.grad for param in each.parameters()])
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-12)
