"""Batch normalisation joined with pooling equals the two layers to the last bit, and keeps less for the gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from detkit.models.backbones import ResNet
from detkit.models.layers.norm_max_pool import can_join_pool, norm_max_pool


def layers() -> tuple[nn.BatchNorm2d, nn.MaxPool2d]:
    torch.manual_seed(0)
    bn = nn.BatchNorm2d(6)
    nn.init.uniform_(bn.weight, -2, 2)
    nn.init.uniform_(bn.bias, -1, 1)
    return bn, nn.MaxPool2d(3, stride=2, padding=1)


def pooled(bn: nn.BatchNorm2d, pool: nn.MaxPool2d, x: Tensor, joined: bool) -> Tensor:
    return norm_max_pool(bn, pool, x) if joined else pool(bn(x))


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('frozen', [False, True], ids=['learnt', 'frozen'])
def test_equals_the_two_layers_to_the_last_bit(dtype, layout, frozen):
    torch.manual_seed(2)
    x = (3 * torch.randn(2, 6, 9, 12) + 1).to(dtype).contiguous(memory_format=layout)
    bn, pool = layers()
    bn.bias.requires_grad_(not frozen)
    found = []
    for norm, joined in ((copy.deepcopy(bn), False), (bn, True)):
        own = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = pooled(norm, pool, own, joined)
        wanted = [each for each in (own, norm.weight, norm.bias) if each.requires_grad]
        grads = torch.autograd.grad(y.float().square().sum(), wanted)
        found.append([y, *grads, norm.running_mean, norm.running_var, norm.num_batches_tracked])
    for plain, own in zip(*found, strict=True):
        assert own.dtype == plain.dtype and own.stride() == plain.stride() and torch.equal(own, plain)


def test_gradients_can_be_differentiated_again():
    bn, pool = layers()
    x, other = torch.randn(2, 6, 8, 8), copy.deepcopy(bn)
    penalties = []
    for norm, joined in ((bn, True), (other, False)):
        own = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(pooled(norm, pool, own, joined).square().sum(), own, create_graph=True)
        penalties.append(torch.autograd.grad(grad.square().sum(), [own, norm.weight]))
    for own, plain in zip(*penalties, strict=True):
        assert own.abs().sum() > 0
        torch.testing.assert_close(own, plain)


def test_other_layers_are_called_themselves():
    bn, pool = layers()
    x = torch.randn(2, 6, 8, 8)
    assert can_join_pool(bn, pool, x)
    assert not can_join_pool(bn, nn.AvgPool2d(2), x)
    assert not can_join_pool(bn, nn.MaxPool2d(2, return_indices=True), x)
    assert not can_join_pool(copy.deepcopy(bn).eval(), pool, x)
    pool.register_forward_hook(lambda *args: None)
    assert not can_join_pool(bn, pool, x)


def test_a_backbone_computes_the_same_and_keeps_a_map_less():
    torch.manual_seed(0)
    net = ResNet(depth=18, out_indices=(1, 2), variant='d')
    plain = copy.deepcopy(net)
    plain.maxpool.register_forward_hook(lambda *args: None)
    images, found, kept = torch.randn(2, 3, 64, 64), [], []
    for model in (net, plain):
        sizes: dict[int, tuple[int, Tensor]] = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda saved, sizes=sizes: (
                sizes.update({saved.data_ptr(): (saved.untyped_storage().nbytes(), saved)}) or saved
            ),
            lambda saved: saved,
        ):
            feats = model(images)
        sum(feat.square().sum() for feat in feats).backward()
        found.append([*feats, *[param.grad for param in model.parameters()], *model.buffers()])
        kept.append(sum(size for size, _ in sizes.values()))
    assert all(torch.equal(own, other) for own, other in zip(*found, strict=True))
    assert kept[1] - kept[0] == pytest.approx(2 * 64 * 32 * 32 * 4, rel=0.01)
    net.eval()
    published = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(images)))))
    assert torch.equal(net(images)[0], published)
