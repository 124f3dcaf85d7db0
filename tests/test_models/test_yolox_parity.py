"""YOLOX equals pixeltable-yolox 0.4.3 in outputs, losses, assignments, gradients and detections, and the authors' code
in its number of parameters (tests/parity/record_pixeltable_yolox.py says how the former were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from parity.seeded import assert_close, assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from parity.yolox_shapes import yolox_state
from test_loss_parity import gt_batch
from yolox_files import their_shapes

from detkit.converters.yolox_keys import (
    DARKNET_WEIGHT,
    FOCUS_WEIGHT,
    YOLOX_KEYS,
    convert_state,
    stem_kernel,
)
from detkit.structures.targets import Candidates
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolox.npz'
COUNTS = {
    'nano': 912_159,
    'tiny': 5_055_855,
    's': 8_968_255,
    'm': 25_326_495,
    'l': 54_208_895,
    'x': 99_071_455,
    'darknet53': 63_724_767,
}
SIZES = ['nano', 's', pytest.param('darknet53', marks=pytest.mark.slow)]


@pytest.mark.parametrize('size', COUNTS)
def test_parameter_counts(size):
    model = build_model('yolox_det', device='meta', size=size)
    assert sum(param.numel() for param in model.parameters()) == COUNTS[size]


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(size: str, recorded: dict) -> torch.nn.Module:
    model = build_model('yolox_det', size=size).double()
    model.head.loss_l1.loss_weight = 1.0  # as in the last epochs
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-3, 0.03)
            module.momentum = 1.0  # as recorded
    state = yolox_state(their_shapes(size, model), int(recorded['seed']))
    model.load_state_dict(convert_state(state, size == 'darknet53'))
    return model


def images(recorded: dict) -> torch.Tensor:
    """The recorded images are BGR, those of detkit RGB."""
    return seeded_tensor((3, 3, *IMG_SHAPE), 'image', int(recorded['seed'])).flip(1)


@pytest.mark.parametrize('size', SIZES)
def test_outputs_and_detections_equal_the_reference(recorded, size):
    model = seeded_model(size, recorded).train()
    with torch.no_grad():
        model(images(recorded))  # for the statistics of normalisation
        preds = model.eval()(images(recorded))
        decoded = model.head.decode(preds)
        for name in ('bboxes', 'scores'):
            assert_matches(decoded[name], recorded[f'{size}.eval.{name}'], 1e-6, name)
        model.head.test_cfg |= dict(score_thr=0.01, iou_thr=0.3)
        results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * 3)
    for image, result in enumerate(results):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None]], 1)
        assert 10 < len(table) == recorded[f'{size}.detections.{image}.count'] < decoded['scores'].shape[1]
        assert_matches(table, recorded[f'{size}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('size', SIZES)
def test_assignments_losses_and_gradients_equal_the_reference(recorded, size):
    model, gt = seeded_model(size, recorded).train(), gt_batch()
    head = model.head
    preds = model(images(recorded))
    flat, priors = head._flatten(preds), head._priors(preds)
    bboxes = head._decode(flat['bbox_preds'], priors)
    outputs = dict(flat, obj_logits=flat['obj_logits'].squeeze(-1), bboxes=bboxes)
    for name, value in outputs.items():
        assert_matches(value, recorded[f'{size}.train.{name}'], 1e-6, name)

    candidates = Candidates(flat['cls_logits'], bboxes, obj_logits=outputs['obj_logits'])
    assigned = head.assigner(candidates, priors, gt)
    matched = 0
    for image in range(gt.batch_size):
        valid = assigned.valid[image]
        found = torch.stack([field[image][valid].double() for field in (assigned.prior_idx, assigned.gt_idx)])
        found = torch.cat([found, assigned.scores[image][valid].detach()[None]])[:, found[0].argsort()]
        expected = recorded.get(f'{size}.matches.{image}', np.zeros((3, 0)))  # nothing for an image without objects
        assert_close(found[:2], expected[:2], 0, 'points and objects')
        assert_close(found[2], expected[2], 1e-6, 'overlaps')
        matched += valid.sum()
    assert matched > gt.valid.sum()

    losses = head.loss(preds, gt)
    assert list(losses) == ['loss_box', 'loss_obj', 'loss_cls', 'loss_l1']
    total = sum(losses.values())
    for value, expected in zip((total, *losses.values()), recorded[f'{size}.losses'], strict=True):
        assert value.item() == pytest.approx(expected, rel=1e-6)
    total.backward()

    keys = YOLOX_KEYS[size == 'darknet53']
    gradients = {keys.to_theirs(name): param.grad for name, param in model.named_parameters()}
    if size == 'darknet53':
        gradients[DARKNET_WEIGHT] = gradients[DARKNET_WEIGHT].flip(1)
    else:
        gradients[FOCUS_WEIGHT] = conv_to_focus(gradients[FOCUS_WEIGHT])
    prefix = f'{size}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[prefix + key], 1e-6, key)


def conv_to_focus(kernel: torch.Tensor) -> torch.Tensor:
    """The inverse of ``stem_kernel`` for stacked pixels."""
    order = stem_kernel(torch.arange(12 * 9.0).reshape(1, 12, 3, 3)).long().flatten()
    return kernel.flatten(1)[:, order.argsort()].reshape(-1, 12, 3, 3)


def test_without_the_l1_loss_the_others_stay_as_they_are(recorded):
    model = seeded_model('nano', recorded).train()
    model.head.loss_l1.loss_weight = 0.0
    losses = model.head.loss(model(images(recorded)), gt_batch())
    assert losses['loss_l1'].item() == 0
    assert [value.item() for value in losses.values()][:3] == pytest.approx(recorded['nano.losses'][1:4], rel=1e-6)
