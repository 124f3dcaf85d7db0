"""Necks: shapes, attributes, and that pools in a chain are pools beside each other."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from detkit.models.layers import C3, C2f, C2fCIB, ConvModule, SCDown
from detkit.models.necks import FPN, PAN, SPP, LastBlock
from detkit.utils.errors import ConfigError


@pytest.mark.parametrize('kernel_sizes', [(5, 9, 13), (3,), (5, 7, 13)])
def test_spp_equals_parallel_pools(kernel_sizes):
    torch.manual_seed(0)
    spp = SPP((4, 8), kernel_sizes=kernel_sizes).eval()
    fine, coarse = torch.rand(2, 4, 12, 10), torch.rand(2, 8, 6, 5)
    out = spp((fine, coarse))
    x = spp.in_conv(coarse)
    pools = [F.max_pool2d(x, k, stride=1, padding=k // 2) for k in kernel_sizes]
    torch.testing.assert_close(out[1], spp.out_conv(torch.cat([x, *pools], dim=1)))
    assert out[0] is fine
    assert spp.out_channels == (4, 8)


def test_spp_changes_the_last_maps_channels_on_request():
    spp = SPP((4, 8), out_channels=6)
    assert spp.out_channels == (4, 6)
    assert spp((torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)))[1].shape == (2, 6, 4, 4)


@pytest.mark.parametrize('kernel_sizes', [(4,), (1, 5), (9, 5)])
def test_spp_rejects_kernel_sizes(kernel_sizes):
    with pytest.raises(ValueError, match='kernel_sizes'):
        SPP((8,), kernel_sizes=kernel_sizes)


@pytest.mark.parametrize('channels', [(8, 16), (8, 16, 24), (8, 16, 24, 32)])
def test_pan_keeps_sizes_and_channels(channels):
    pan = PAN(channels, in_strides=[8 * 2**i for i in range(len(channels))], deepen_factor=0.33)
    feats = tuple(torch.rand(2, c, 32 >> i, 24 >> i) for i, c in enumerate(channels))
    given = [f.clone() for f in feats]
    assert [f.shape for f in pan(feats)] == [f.shape for f in feats]
    assert pan.out_channels == channels
    assert all(torch.equal(a, b) for a, b in zip(feats, given, strict=True))  # inputs stay as they were


def test_pan_to_other_channels():
    pan = PAN((8, 16, 24), out_channels=(16, 8, 8))
    feats = tuple(torch.rand(2, c, 16 >> i, 16 >> i) for i, c in enumerate((8, 16, 24)))
    assert [f.shape[1] for f in pan(feats)] == [16, 8, 8] == list(pan.out_channels)


def test_pan_takes_sizes_that_do_not_halve_evenly():
    feats = (torch.rand(2, 8, 13, 11), torch.rand(2, 8, 7, 6))
    assert [f.shape[-2:] for f in PAN((8, 8))(feats)] == [(13, 11), (7, 6)]


def test_pan_of_other_blocks():
    pan = PAN((8, 8), num_blocks=2, block=dict(type='C2f', shortcut=True, expansion=0.25))
    for block in (*pan.up_blocks, *pan.down_blocks):
        assert len(block.blocks) == 2
        assert all(bottleneck.shortcut for bottleneck in block.blocks)
        assert block.blocks[0].conv1.conv.out_channels == 2


def test_pan_that_reduces():
    """Each step up and down sees maps of the finer level's width."""
    pan = PAN((8, 16, 24), out_channels=(8, 16, 32), reduce=True, block=dict(type='C3'))
    assert [(conv.conv.in_channels, conv.conv.out_channels) for conv in pan.reduce_convs] == [(16, 8), (24, 16)]
    assert [block.main_conv.conv.in_channels for block in pan.up_blocks] == [8 + 8, 16 + 16]
    assert [block.main_conv.conv.in_channels for block in pan.down_blocks] == [8 + 8, 16 + 16]
    feats = tuple(torch.rand(2, c, 16 >> i, 16 >> i) for i, c in enumerate((8, 16, 24)))
    assert [f.shape[1] for f in pan(feats)] == [8, 16, 32] == list(pan.out_channels)


def test_pan_has_a_block_and_a_way_to_halve_for_each_position():
    """Blocks in the order in which they run: upwards from the coarsest map, then downwards."""
    blocks = [dict(type='C2f'), dict(type='C3'), dict(type='C2fCIB'), dict(type='C2fCIB', num_blocks=2)]
    pan = PAN(
        (8, 16, 24),
        num_blocks=1,
        block=blocks,
        last_block=dict(large_kernel=True),
        act='ReLU',
        downsample=[None, dict(type='SCDown')],
    )
    assert [type(block) for block in (*pan.up_blocks[::-1], *pan.down_blocks)] == [C2f, C3, C2fCIB, C2fCIB]
    assert [block.large_kernel for block in pan.down_blocks] == [False, True]
    assert [len(block.blocks) for block in pan.down_blocks] == [1, 2]
    assert [type(layer) for layer in pan.down_convs] == [ConvModule, SCDown]
    assert isinstance(pan.down_convs[1][0].act, nn.ReLU)
    feats = tuple(torch.rand(2, c, 16 >> i, 16 >> i) for i, c in enumerate((8, 16, 24)))
    assert [f.shape[1:] for f in pan(feats)] == [(8, 16, 16), (16, 8, 8), (24, 4, 4)]


def test_last_block_leaves_finer_maps_alone():
    neck = LastBlock((4, 8), deepen_factor=0.67).eval()
    assert len(neck.block.blocks) == 2 and neck.out_channels == (4, 8)
    fine, coarse = torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)
    out = neck((fine, coarse))
    assert out[0] is fine
    torch.testing.assert_close(out[1], neck.block(coarse))


@pytest.mark.parametrize('reduce', [False, True])
def test_pan_carries_information_both_ways(reduce):
    """Every output depends on every input."""
    torch.manual_seed(0)
    pan = PAN((8, 8, 8), reduce=reduce).eval()
    feats = tuple(torch.rand(1, 8, 16 >> i, 16 >> i, requires_grad=True) for i in range(3))
    for out in pan(feats):
        grads = torch.autograd.grad(out.sum(), feats, retain_graph=True)
        assert all(g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(in_channels=(8,)), 'at least 2 maps'),
        (dict(in_channels=(8, 8), in_strides=(8, 32)), r'\(8, 32\)'),
        (dict(in_channels=(8, 8), out_channels=(8,)), '1 out_channels for 2 maps'),
        (dict(in_channels=(8, 8), block=[dict(type='C3')]), 'PAN: 1 entries of block, but there are 2 positions'),
        (dict(in_channels=(8, 8), downsample=[None, None]), 'PAN: 2 entries of downsample, but there are 1 positions'),
        (dict(in_channels=(8, 8), downsample=dict(type='SCDown'), depthwise=True), 'give one of them'),
    ],
)
def test_pan_rejects(arguments, message):
    with pytest.raises((ValueError, ConfigError), match=message):
        PAN(**arguments)


def test_gradient_of_an_added_map_of_one_column_is_the_same_in_half_precision():
    torch.manual_seed(0)
    neck = FPN([8], [32], 64, num_outs=3, add_extra_convs='on_output')
    feat = torch.randn(2, 8, 3, 2)

    def gradient(amp: bool) -> torch.Tensor:
        neck.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            last = neck((feat,))[-1]
        torch.empty(64 * 64 * 9).fill_(float('nan'))  # what a gradient would hold that is not written
        last.float().sum().backward()
        return neck.extra_convs[1].weight.grad

    for _ in range(3):
        torch.testing.assert_close(gradient(amp=True), gradient(amp=False), rtol=0.1, atol=0.1)
