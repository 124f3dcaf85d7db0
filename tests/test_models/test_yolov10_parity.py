"""YOLOv10 equals ultralytics 8.4.190 in outputs, losses, gradients and detections
(tests/parity/record_ultralytics_yolov10.py says how that was recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE, loss_state
from test_loss_parity import gt_batch

from detkit.converters.ultralytics_keys import yolov10_keys
from detkit.models.layers import fused
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolov10.npz'
SIZES = ['n', 's', pytest.param('b', marks=pytest.mark.slow)]
OUTPUTS = {'boxes': 'bbox_preds', 'scores': 'cls_logits'}
KEYS = yolov10_keys()


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        found = dict(arrays)
    names = str(found.pop('gradient_names')).split('\n')
    return found | dict(zip(names, found.pop('gradients'), strict=True))


@without_initial_values()
def seeded_model(size: str, seed: int) -> torch.nn.Module:
    model = build_model('yolov10_det', 80, size=size).double()
    shapes = {KEYS.to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(KEYS.convert(loss_state(shapes, seed)))
    return model


def images(seed: int) -> torch.Tensor:
    return seeded_tensor((3, 3, *IMG_SHAPE), 'image', seed)


def assert_outputs(preds: dict, recorded: dict, prefix: str, heads: dict[str, str]) -> None:
    """``heads``: the reference's names of the heads that ``preds`` must have, with detkit's prefixes."""
    assert set(preds) == {ours + name for ours in heads.values() for name in OUTPUTS.values()}
    for head, ours in heads.items():
        for theirs, name in OUTPUTS.items():
            flat = torch.cat([level.flatten(2) for level in preds[ours + name]], -1)
            assert_matches(flat, recorded[f'{prefix}.{head}.{theirs}'], 1e-6, f'{head} {theirs}')


@pytest.mark.parametrize('size', SIZES)
def test_outputs_and_detections_equal_the_reference(recorded, size):
    """The second image has no objects. With batch normalisation and large kernels folded, the outputs are the same."""
    name, seed = f'det_{size}', int(recorded['seed'])
    model = seeded_model(size, seed).eval()
    head = model.head
    head.test_cfg['score_thr'] = -1.0
    with torch.no_grad(), fused(model):
        assert_outputs(model(images(seed)), recorded, f'{name}.eval', {'one2one': ''})
    with torch.no_grad():
        preds = model(images(seed))
        assert_outputs(preds, recorded, f'{name}.eval', {'one2one': ''})
        decoded = head.decode(preds)
    for image, found in enumerate(head._suppress(decoded[head.BBOXES], decoded['scores'])):
        table = torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None]], 1)
        assert len(table) == recorded[f'{name}.detections.{image}.count']
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('size', SIZES)
def test_losses_and_gradients_equal_the_reference(recorded, size):
    """Losses of both heads are added up, as in the paper; the reference's own candidates are tried beside them."""
    name, seed = f'det_{size}', int(recorded['seed'])
    model = seeded_model(size, seed).train()
    head, assigner, gt = model.head, model.head.one_to_one.assigner, gt_batch()
    preds = model(images(seed))
    assert_outputs(preds, recorded, f'{name}.train', {'one2one': '', 'one2many': 'many_'})
    single, many = recorded[f'{name}.losses.one2one'], recorded[f'{name}.losses.one2many']

    def losses() -> dict[str, torch.Tensor]:
        found = head.loss(preds, gt)
        assert list(found) == ['loss_box', 'loss_cls', 'loss_dfl']
        return found

    def values() -> list[float]:
        return [value.item() for value in losses().values()]

    head.many_weight = 1.0
    assert values() == pytest.approx((2 * many).tolist(), rel=1e-6)
    head.many_weight = 0.0
    assert values() == pytest.approx((2 * single).tolist(), rel=1e-6)
    assigner.topk, assigner.keep = 7, 1
    assert values() == pytest.approx((2 * recorded[f'{name}.losses.one2one_7']).tolist(), rel=1e-6)
    assigner.topk, assigner.keep, head.many_weight = 1, None, 0.5
    assert values() == pytest.approx((many + single).tolist(), rel=1e-6)

    sum(losses().values()).backward()
    gradients = {KEYS.to_theirs(key): param.grad for key, param in model.named_parameters()}
    prefix = f'{name}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    rounding = 1e-12 * max(recorded[prefix + key][1] for key in gradients)
    for key, gradient in gradients.items():
        expected = recorded[prefix + key]
        if expected[1] < rounding:  # of a bias that a later normalisation subtracts
            assert gradient.abs().max() < rounding, key
        else:
            assert_matches(gradient, expected[: 2 + min(len(expected) - 2, gradient.numel())], 1e-6, key)
