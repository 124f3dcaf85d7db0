"""Every registered part of a model against its contract."""

import inspect

import pytest
import torch
from torch import nn

import detkit.models  # noqa: F401 - registers the components
from detkit import protocols
from detkit.config.contracts import protocols_of
from detkit.config.signatures import arguments_of
from detkit.registry import ASSIGNERS, BACKBONES, CODERS, HEADS, LOSSES, MATCH_COSTS, NECKS

CHANNELS, STRIDES = (8, 16, 24), (8, 16, 32)
# Arguments of small networks.
SMALL = {
    'CSPDarknet': dict(deepen_factor=0.33, widen_factor=0.125),
    'Darknet': dict(depth='tiny'),
    'ResNet': dict(depth=18),
}


def own(registry) -> list[str]:
    return sorted(name for name in registry.names() if registry.get(name).__module__.startswith('detkit.'))


def parameters(function) -> list[tuple[str, bool]]:
    """The names of a method's arguments, and whether each may be left out."""
    given = list(inspect.signature(function).parameters.values())[1:]
    return [(parameter.name, parameter.default is None) for parameter in given]


@pytest.mark.parametrize('name', own(LOSSES))
def test_a_loss_has_a_kind_the_one_signature_and_a_weight(name):
    cls = LOSSES.get(name)
    assert protocols.Loss in protocols_of(cls) and protocols_of(cls) > {protocols.Loss}
    assert parameters(cls.forward) == [('pred', False), ('target', False), ('weight', True), ('avg_factor', True)]
    assert cls(loss_weight=2.5).loss_weight == 2.5


@pytest.mark.parametrize('name', own(ASSIGNERS))
def test_an_assigner_has_a_kind_and_the_one_signature(name):
    cls = ASSIGNERS.get(name)
    assert protocols_of(cls) > {protocols.Assigner}
    assert parameters(cls.__call__) == [('preds', False), ('priors', False), ('gt', False)]
    assert not isinstance(cls(), nn.Module)


@pytest.mark.parametrize('name', own(CODERS))
def test_a_coder_has_a_kind_and_its_methods(name):
    cls = CODERS.get(name)
    (kind,) = protocols_of(cls)
    for method, function in vars(kind).items():
        if inspect.isfunction(function) and not method.startswith('_'):
            wanted, found = parameters(function), parameters(vars_of(cls, method))
            assert [n for n, _ in found][: len(wanted)] == [n for n, _ in wanted] or method == 'angles'


def vars_of(cls: type, name: str):
    return next(vars(base)[name] for base in cls.__mro__ if name in vars(base))


@pytest.mark.parametrize('name', own(MATCH_COSTS))
def test_a_match_cost_is_one_number_a_pair(name):
    cost = MATCH_COSTS.build(dict(type=name, weight=2.0))
    assert protocols.MatchCost in protocols_of(type(cost)) and cost.weight == 2
    boxes = torch.rand(2, 5, 4) * 0.5 + 0.2
    pairs = cost(torch.randn(2, 5, 4), boxes, torch.zeros(2, 3, dtype=torch.int64), boxes[:, :3])
    assert pairs.shape == (2, 5, 3) and pairs.isfinite().all()


@pytest.mark.parametrize('name', own(BACKBONES))
def test_a_backbone_returns_the_maps_that_it_declares(name):
    backbone = BACKBONES.build(dict(type=name, **SMALL.get(name, {}))).eval()
    with torch.no_grad():
        feats = backbone(torch.rand(1, 3, 64, 64))
    assert isinstance(feats, tuple)
    assert [tuple(f.shape[1:]) for f in feats] == [
        (width, 64 // stride, 64 // stride)
        for width, stride in zip(backbone.out_channels, backbone.out_strides, strict=True)
    ]


@pytest.mark.parametrize('name', own(NECKS))
def test_a_neck_returns_the_maps_that_it_declares(name):
    neck = NECKS.build(dict(type=name, in_channels=CHANNELS)).eval()
    with torch.no_grad():
        feats = neck(tuple(torch.rand(1, w, 64 // s, 64 // s) for w, s in zip(CHANNELS, STRIDES, strict=True)))
    assert isinstance(feats, tuple) and [f.shape[1] for f in feats] == list(neck.out_channels)


@pytest.mark.parametrize('name', own(HEADS))
def test_a_head_has_the_methods_and_states_what_it_takes(name):
    cls = HEADS.get(name)
    assert [n for n, _ in parameters(cls.forward)] == ['feats', 'padding_mask']
    assert [n for n, _ in parameters(cls.loss)] == ['preds', 'gt']
    assert [n for n, _ in parameters(cls.predict)] == ['preds', 'metas']
    names = arguments_of(cls).names
    assert set(cls.takes) == {n for n in names if n in ('assigner', 'bbox_coder') or n.startswith('loss_')}
    assert {'num_classes', 'in_channels', 'test_cfg'} <= set(names)
