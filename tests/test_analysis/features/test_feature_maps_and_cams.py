"""Activations and class activation maps."""

import numpy as np
import pytest
import torch
from torch import nn

from detkit.analysis.features.cam import class_logits, class_score, eigen_cam, grad_cam, normalised
from detkit.analysis.features.feature_maps import _nothing, choose_modules, record_activations
from detkit.utils.errors import ConfigError


def test_modules_by_name_and_pattern():
    model = nn.Sequential()
    model.add_module('stem', nn.Conv2d(3, 4, 3))
    model.add_module('neck', nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1)), nn.ReLU(inplace=True)))
    assert choose_modules(model, ['neck.*', 'stem']) == ['stem', 'neck.0', 'neck.1']
    assert choose_modules(model, ['neck*']) == ['neck']
    assert choose_modules(model, ['neck.**']) == ['neck.0', 'neck.0.0', 'neck.1']
    with pytest.raises(ConfigError, match="no module 'stme'. Did you mean 'stem'"):
        choose_modules(model, ['stem', 'stme'])


def test_what_follows_in_place_leaves_recorded_activations_alone_and_gradients_reach_them():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    inputs = torch.randn(1, 3, 8, 8)
    with record_activations(model, ['0']) as found:
        out = model(inputs)
    (kept,) = found['0']
    assert torch.equal(kept, model[0](inputs)) and kept.min() < 0 == out.min()
    (gradient,) = torch.autograd.grad(out.sum(), kept)
    assert torch.equal(gradient, (kept > 0).float())
    model(inputs)
    assert found['0'][0] is kept  # the hook is gone


def test_grad_cam_by_hand():
    activations = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 3.0], [0.0, 0.0]]])
    gradients = torch.stack([torch.full((2, 2), 2.0), torch.tensor([[-1.0, 0.0], [0.0, -1.0]])])
    # weights 2 and -1/2
    assert grad_cam(activations, gradients).tolist() == [[0.5, 0.0], [0.0, 4.0]]


def test_grad_cam_of_global_average_pooling_is_the_class_activation_map():
    """Zhou et al., of which it is a generalisation: the class's weights over the channels, rectified."""
    torch.manual_seed(0)
    activations, weight = torch.randn(5, 3, 4, requires_grad=True), torch.randn(5)
    score = (activations.mean((1, 2)) * weight).sum()
    (gradients,) = torch.autograd.grad(score, activations)
    expected = torch.einsum('c,chw->hw', weight, activations.detach()).clamp(min=0) / 12
    assert torch.allclose(grad_cam(activations, gradients), expected, atol=1e-6)


@pytest.mark.parametrize('sign', [1, -1])
def test_eigen_cam_of_a_map_of_rank_one_is_that_map(sign):
    place = torch.tensor([[0.0, 1.0, 0.0], [3.0, 0.0, 2.0]])
    activations = sign * torch.tensor([1.0, -2.0, 2.0])[:, None, None] * place
    assert torch.allclose(eigen_cam(activations), 3 * place, atol=1e-5)


def test_logits_of_every_kind_of_head():
    classes = 3
    level = torch.arange(2 * 3 * 4.0).view(1, 6, 2, 2)  # two anchors
    logits, probabilities = class_logits({'cls_logits': [level, level[:, :3]]}, classes)
    assert logits.shape == (12, 3) and logits[5].tolist() == [13.0, 17.0, 21.0]  # anchor 1, place (0, 1)
    assert torch.equal(probabilities, logits.sigmoid())
    anchors = torch.zeros(1, 2 * 8, 2, 2)
    anchors[0, 8 + 4, 1, 0], anchors[0, 8 + 6, 1, 0] = -10.0, 1.0
    logits, probabilities = class_logits({'anchor_preds': [anchors]}, classes)
    assert logits[6].tolist() == [-10.0, -9.0, -10.0] and probabilities[6].max() < 1e-4
    assert probabilities[5].tolist() == [0.25] * 3
    logits, probabilities = class_logits({'cls_logits': torch.ones(2, 3)}, classes)
    assert logits.shape == (1, 3) and probabilities[0].tolist() == pytest.approx([1 / 3] * 3)
    layers = torch.arange(2 * 5 * 4.0).view(2, 1, 5, 4)
    logits, probabilities = class_logits({'cls_logits': layers}, classes)
    assert torch.equal(logits, layers[1, 0, :, :3])
    assert probabilities[:, 2].tolist() == pytest.approx([0.23688] * 5, 1e-3)
    objects = torch.full((1, 1, 2, 2), -2.0)
    logits, probabilities = class_logits({'cls_logits': [level[:, :3]], 'obj_logits': [objects]}, classes)
    assert logits[1].tolist() == [-1.0, 3.0, 7.0]
    assert torch.equal(probabilities, level[0, :3].flatten(1).T.sigmoid() * torch.tensor(-2.0).sigmoid())
    regions = {'cls_logits': [torch.zeros(1, 1, 2, 2)], 'region_logits': torch.tensor([[1.0, 0, 2, 0], [9, 0, 0, 0]])}
    logits, probabilities = class_logits(regions, classes)  # background first
    assert (
        logits.tolist() == [[0, 2, 0], [0, 0, 0]] and probabilities[0].argmax() == 1 and probabilities[1].max() < 1e-3
    )
    with pytest.raises(ConfigError, match='needs a region that the first stage proposes'):
        class_logits({'region_logits': torch.zeros(0, 4)}, classes)
    with pytest.raises(ConfigError, match='needs 3 logits a location from the head, not 4'):
        class_logits({'cls_logits': [level[:, :4]]}, classes)
    with pytest.raises(ConfigError, match='which gives masks; use eigencam'):
        class_logits({'masks': level}, classes)


def test_score_of_a_class():
    logits = torch.tensor([[2.0, -5.0], [3.0, -4.0], [-3.0, -6.0]])
    assert float(class_score(logits, logits.sigmoid(), 0, 0.5)) == 5.0
    assert float(class_score(logits, logits.sigmoid(), 1, 0.5)) == -4.0  # no place predicts it: the best one


def test_maps_by_one_scale_or_each_by_its_own():
    maps = [torch.tensor([[4.0, 2.0]]), torch.tensor([[1.0]]), torch.zeros(1, 1)]
    assert [cam.tolist() for cam in normalised(maps, together=True)] == [[[1.0, 0.5]], [[0.25]], [[0.0]]]
    assert [cam.max() for cam in normalised(maps, together=False)] == [1.0, 1.0, 0.0]


def test_an_empty_level_is_explained():
    assert _nothing(np.zeros((2, 3))) == ', empty: nothing here speaks for it' and _nothing(np.eye(2)) == ''
