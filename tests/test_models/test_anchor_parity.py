"""Outputs, losses, gradients and detections equal those of YOLOv5 7.0.14 (tests/parity says how they were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from parity.crowds import EVAL_SCALES, crowded_state, crowded_truth
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE

from detkit.converters.yolov5 import YOLOV5_KEYS
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.without_memory import without_initial_values

RECORDED = Path(__file__).parents[1] / 'parity' / 'loss_yolov5.npz'
CONFIG = Path(__file__).parents[2] / 'configs' / '_base_' / 'models' / 'yolov5_det.py'
FACTORS = {'n': (0.33, 0.25), 'm': (0.67, 0.75)}  # depth, width
LOSSES = ('loss_box', 'loss_obj', 'loss_cls')


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


@without_initial_values()
def seeded_model(
    recorded: dict, size: str, num_classes: int = 80, head: dict | None = None, **options: float
) -> torch.nn.Module:
    cfg = Config.fromfile(CONFIG).model
    depth, width = FACTORS[size]
    cfg.backbone.update(deepen_factor=depth, widen_factor=width)
    cfg.neck[1].deepen_factor = depth
    cfg.head.update(num_classes=num_classes, img_size=int(recorded['img_size']), **(head or {}))
    model = DETECTORS.build(cfg).double()
    shapes = {YOLOV5_KEYS[False].to_theirs(name): tuple(value.shape) for name, value in model.state_dict().items()}
    state = crowded_state(shapes, int(recorded['seed']), num_classes, **options)
    model.load_state_dict(YOLOV5_KEYS[False].convert(state))
    return model


def images(recorded: dict) -> torch.Tensor:
    return seeded_tensor((len(crowded_truth()), 3, *IMG_SHAPE), 'image', int(recorded['seed']))


def gt_batch(num_classes: int = 80) -> GtBatch:
    truth = crowded_truth()
    batch_size, most = len(truth), max(len(labels) for labels, _ in truth)
    labels = torch.full((batch_size, most), -1)
    bboxes = torch.zeros(batch_size, most, 4, dtype=torch.float64)
    for image, (image_labels, image_bboxes) in enumerate(truth):
        labels[image, : len(image_labels)] = torch.from_numpy(image_labels % num_classes)
        bboxes[image, : len(image_labels)] = torch.from_numpy(image_bboxes)
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([IMG_SHAPE] * batch_size),
    )


def by_anchor(level: torch.Tensor) -> torch.Tensor:
    """``(B, A * 85, h, w) -> (B, A, h, w, 85)``, the reference's form."""
    return level.unflatten(1, (3, -1)).permute(0, 1, 3, 4, 2)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('mode', ['eval', 'train'])
@pytest.mark.parametrize('size', FACTORS)
def test_outputs_equal_the_reference(recorded, size, mode):
    options = dict(scale=EVAL_SCALES[size]) if mode == 'eval' else {}
    model = seeded_model(recorded, size, **options).train(mode == 'train')
    with torch.no_grad():
        levels = model(images(recorded))['anchor_preds']
    for i, level in enumerate(levels):
        assert_matches(by_anchor(level), recorded[f'{size}.{mode}.levels.{i}'], 1e-6, f'level {i}')
    if mode == 'train':
        return
    head, decoded = model.head, []
    for level, priors in zip(levels, head._priors(levels), strict=True):
        rows = head._rows(level)  # (B, h * w * A, 85)
        bboxes = head.bbox_coder.decode(priors.points, priors.sizes_wh, rows[..., :4], priors.stride)
        centres, sizes_wh = (bboxes[..., :2] + bboxes[..., 2:]) / 2, bboxes[..., 2:] - bboxes[..., :2]
        rows = torch.cat([centres, sizes_wh, rows[..., 4:].sigmoid()], -1)
        decoded.append(rows.unflatten(1, (-1, 3)).transpose(1, 2).flatten(1, 2))  # anchor by anchor
    assert_matches(torch.cat(decoded, 1), recorded[f'{size}.decoded'], 1e-6, 'decoded')


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_outputs_in_float32_are_near(recorded, mode):
    options = dict(scale=EVAL_SCALES['n']) if mode == 'eval' else {}
    model = seeded_model(recorded, 'n', **options).float().train(mode == 'train')
    with torch.no_grad():
        levels = model(images(recorded).float())['anchor_preds']
    for i, level in enumerate(levels):
        assert_matches(by_anchor(level), recorded[f'n.{mode}.levels.{i}'], 1e-4, f'level {i}')


@pytest.mark.parametrize('size', FACTORS)
def test_losses_and_gradients_equal_the_reference(recorded, size):
    model = seeded_model(recorded, size).train()
    losses = model(images(recorded), gt_batch(), mode='loss')
    assert tuple(losses) == LOSSES
    for key, expected in zip(LOSSES, recorded[f'{size}.losses'], strict=True):
        assert losses[key].item() == pytest.approx(expected, rel=1e-6), key
    sum(losses.values()).backward()
    gradients = {YOLOV5_KEYS[False].to_theirs(key): parameter.grad for key, parameter in model.named_parameters()}
    prefix = f'{size}.grad.'
    assert set(gradients) == {key.removeprefix(prefix) for key in recorded if key.startswith(prefix)}
    for key, gradient in gradients.items():
        assert_matches(gradient, recorded[prefix + key], 1e-6, key)


@pytest.mark.parametrize(
    ('variant', 'num_classes', 'head'),
    [
        (
            'focal',
            80,
            dict(
                loss_obj=dict(type='BinaryFocalLoss', loss_weight=1.0),
                loss_cls=dict(type='BinaryFocalLoss', loss_weight=0.5),
            ),
        ),
        ('smooth', 80, dict(loss_cls=dict(type='BinaryCrossEntropyLoss', label_smoothing=0.1, loss_weight=0.5))),
        ('single', 1, {}),
    ],
)
def test_variants_of_the_losses_equal_the_reference(recorded, variant, num_classes, head):
    model = seeded_model(recorded, 'n', num_classes, head).train()
    with torch.no_grad():
        losses = model(images(recorded), gt_batch(num_classes), mode='loss')
    for key, expected in zip(LOSSES, recorded[f'n.losses.{variant}'], strict=True):
        assert losses[key].item() == pytest.approx(expected, rel=1e-6), key


@pytest.mark.parametrize('size', FACTORS)
def test_detections_equal_the_reference(recorded, size):
    model = seeded_model(recorded, size, scale=EVAL_SCALES[size]).eval()
    with torch.no_grad():
        preds = model(images(recorded))
    metas = [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * len(crowded_truth())
    for kind, multi_label in (('detections', True), ('best', False)):
        model.head.test_cfg.update(score_thr=0.001, iou_thr=0.6, multi_label=multi_label)
        for image, result in enumerate(model.head.predict(preds, metas)):
            found = result.pred_instances
            table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
            assert len(table) == recorded[f'{size}.{kind}.{image}.count']
            assert_matches(table, recorded[f'{size}.{kind}.{image}'], 1e-6, f'{kind} of image {image}')
