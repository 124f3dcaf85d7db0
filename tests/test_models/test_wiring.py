"""Wiring: what is left out is filled in, what is given is checked, errors name the component and the numbers."""

import pytest
from torch import nn

from detkit.models.backbones import CSPDarknet
from detkit.models.necks import PAN
from detkit.models.wiring import Output, build_backbone, build_head, build_neck
from detkit.registry import BACKBONES, HEADS, NECKS
from detkit.utils.errors import ConfigError

BEFORE = Output("backbone 'Toy'", (8, 16, 32), (8, 16, 32))


@HEADS.register_module(force=True)
class WiredHead(nn.Module):
    def __init__(self, in_channels, strides):
        super().__init__()
        self.in_channels, self.strides = in_channels, strides


@HEADS.register_module(force=True)
class ExtendedHead(WiredHead):
    """Hands what it doesn't know to its parent."""

    def __init__(self, *args, extra=1, **kwargs):
        super().__init__(*args, **kwargs)


@BACKBONES.register_module(force=True)
@NECKS.register_module(force=True)
@HEADS.register_module(force=True)
class Unwired(nn.Module):
    """Takes no channels, as a lazy module might; as a neck it doesn't say what it returns."""


@NECKS.register_module(force=True)
class LastOnly(nn.Module):
    def __init__(self, in_channels):
        super().__init__()
        self.out_channels = in_channels[-1:]


def test_backbone_hands_on_its_attributes():
    backbone, output = build_backbone(dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.25))
    assert isinstance(backbone, CSPDarknet)
    assert output == ("backbone 'CSPDarknet'", (64, 128, 256), (8, 16, 32))


def test_backbone_without_attributes_is_named():
    with pytest.raises(ConfigError, match="backbone 'Unwired' has no attribute out_channels"):
        build_backbone(dict(type='Unwired'))


def test_left_out_numbers_are_filled_in():
    head = build_head(dict(type='WiredHead'), BEFORE)
    assert (head.in_channels, head.strides) == ((8, 16, 32), (8, 16, 32))
    neck, output = build_neck(dict(type='PAN', deepen_factor=0.33), BEFORE)
    assert isinstance(neck, PAN)
    assert output == ("neck 'PAN'", (8, 16, 32), (8, 16, 32))


def test_arguments_of_parents_are_filled_in_too():
    assert build_head(dict(type='ExtendedHead', extra=2), BEFORE).in_channels == (8, 16, 32)


def test_none_counts_as_left_out():
    assert build_head(dict(type='WiredHead', in_channels=None, strides=None), BEFORE).strides == (8, 16, 32)


def test_given_numbers_that_agree_are_kept():
    assert build_head(dict(type='WiredHead', in_channels=[8, 16, 32]), BEFORE).in_channels == [8, 16, 32]


@pytest.mark.parametrize('name, given', [('in_channels', (8, 16)), ('strides', (4, 8, 16)), ('in_channels', 8)])
def test_given_numbers_that_differ_are_an_error(name, given):
    with pytest.raises(ConfigError) as error:
        build_head(dict(type='WiredHead', **{name: given}), BEFORE)
    found = given if isinstance(given, tuple) else (given,)
    for part in ("head 'WiredHead'", name, str(found), "backbone 'Toy'", '(8, 16, 32)'):
        assert part in str(error.value)


def test_a_built_component_is_checked_too():
    head = WiredHead((8, 16, 32), (8, 16, 32))
    assert build_head(head, BEFORE) is head
    with pytest.raises(ConfigError, match=r"head 'WiredHead': in_channels is \(1, 2\)"):
        build_head(WiredHead((1, 2), (8, 16)), BEFORE)


def test_a_component_without_channels_is_left_alone():
    assert isinstance(build_head(dict(type='Unwired'), BEFORE), Unwired)


def test_a_neck_that_drops_maps_must_state_strides():
    with pytest.raises(ConfigError, match=r"neck\[1\] 'LastOnly' has no attribute out_strides"):
        build_neck(dict(type='LastOnly'), BEFORE, 'neck[1]')


def test_a_neck_must_state_channels():
    with pytest.raises(ConfigError, match="neck 'Unwired' has no attribute out_channels"):
        build_neck(dict(type='Unwired'), BEFORE)


def test_an_unknown_component_is_named():
    with pytest.raises(ConfigError, match="head 'WiredHaed'.*Did you mean"):
        build_head(dict(type='WiredHaed'), BEFORE)
