"""RF-DETR's outputs, matching, losses, gradients and detections equal those of Hugging Face's transformers 5.24
(tests/parity/record_transformers_rfdetr.py says how they were recorded)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from parity.rfdetr_shapes import (
    BACKBONES,
    CROSS_HEADS,
    DEPTH,
    DIMS,
    EMBED_DIMS,
    FEEDFORWARD_DIMS,
    GROUPS,
    HEADS,
    LAYERS,
    NUM_CLASSES,
    OBJECTS,
    OUT_BLOCKS,
    PATCH,
    POINTS,
    QUERIES,
    SELF_HEADS,
    SIDE,
    images,
    object_masks,
    objects,
    points,
    state_of,
)
from parity.seeded import assert_matches

from detkit.converters.rfdetr_layout import RFDETR_KEYS
from detkit.models.heads import query_masks
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch

RECORDED = Path(__file__).parents[1] / 'parity' / 'rfdetr.npz'
KEYS = RFDETR_KEYS['hugging_face']
NAMES = [*map(str, range(LAYERS)), 'enc']


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def build(head: str = 'RFDETRHead') -> torch.nn.Module:
    windows, table, _ = BACKBONES['windows']
    return DETECTORS.build(
        dict(
            type='SingleStageDetector',
            backbone=dict(
                type='WindowedViT',
                embed_dims=EMBED_DIMS,
                depth=DEPTH,
                num_heads=HEADS,
                patch_size=PATCH,
                num_windows=windows,
                table_size=table,
                global_blocks=OUT_BLOCKS[:-1],
                out_indices=OUT_BLOCKS,
            ),
            neck=dict(type='MultiScaleProjector', out_channels=DIMS, num_blocks=2),
            head=dict(
                type=head,
                num_classes=NUM_CLASSES,
                num_queries=QUERIES,
                num_groups=GROUPS,
                decoder=dict(
                    type='LiteDecoder',
                    embed_dims=DIMS,
                    num_heads=SELF_HEADS,
                    cross_heads=CROSS_HEADS,
                    num_layers=LAYERS,
                    num_points=POINTS,
                    feedforward_dims=FEEDFORWARD_DIMS,
                ),
            ),
        )
    )


@pytest.fixture(scope='module')
def model():
    """The detector in float64."""
    model = build().double()
    shapes = {KEYS.to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(KEYS.convert(state_of(shapes)))
    return model


@pytest.fixture(scope='module')
def trained(model):
    """Predictions in training mode, whose losses have gone backward."""
    model.train()
    preds = model(images(), gt_batch())
    layers = model.head.layer_losses(preds, gt_batch())
    sum(model.head.loss(preds, gt_batch()).values()).backward()
    return {name: value.detach() for name, value in preds.items()}, layers


def gt_batch() -> GtBatch:
    truth = objects()
    most = max(len(labels) for labels, _ in truth)
    labels = torch.full((len(truth), most), -1)
    bboxes = torch.zeros(len(truth), most, 4, dtype=torch.float64)
    for image, (own, relative) in enumerate(truth):
        centres, halves = relative[:, :2], relative[:, 2:] / 2
        labels[image, : len(own)] = own
        bboxes[image, : len(own)] = torch.cat([centres - halves, centres + halves], 1) * SIDE
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[SIDE, SIDE]] * len(truth)),
    )


def assert_outputs(preds: dict, recorded: dict, mode: str, tolerance: float = 1e-6) -> None:
    for key in ('cls_logits', 'bbox_preds'):
        for name in NAMES:
            found = preds[f'enc_{key}'] if name == 'enc' else preds[key][int(name)]
            assert_matches(found, recorded[f'{mode}.{key}.{name}'], tolerance, f'{mode}.{key}.{name}')


def test_outputs_with_all_groups_equal_the_reference(recorded, trained):
    assert trained[0]['cls_logits'].shape == (LAYERS, len(OBJECTS), GROUPS * QUERIES, NUM_CLASSES)
    assert_outputs(trained[0], recorded, 'train')


def test_outputs_and_detections_with_one_group_equal_the_reference(recorded, model):
    evaluated = copy.deepcopy(model).eval()
    with torch.no_grad():
        preds = evaluated(images())
        single = evaluated.float()(images().float())
    assert_outputs(preds, recorded, 'eval')
    assert_outputs(single, recorded, 'eval', 1e-4)
    metas = [dict(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE), matrix=np.eye(3))] * len(OBJECTS)
    evaluated.head.test_cfg['max_per_img'] = QUERIES
    for image, result in enumerate(evaluated.head.predict(preds, metas)):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert_matches(table, recorded[f'detections.{image}'], 1e-6, f'image {image}')


def test_every_group_is_matched_as_the_reference_does(recorded, model, trained):
    preds, gt = trained[0], gt_batch()
    model.train()
    cls_logits = torch.cat((preds['cls_logits'], preds['enc_cls_logits'].unsqueeze(0)))
    bbox_preds = torch.cat((preds['bbox_preds'], preds['enc_bbox_preds'].unsqueeze(0)))
    matches = model.head.find_group_matches(cls_logits, bbox_preds, gt)
    assert matches.weight.bool().all() and matches.avg_factor == GROUPS * gt.num_instances
    image_idx = matches.object_idx // gt.max_instances
    for layer, name in enumerate(NAMES):
        for image in range(len(OBJECTS)):
            own = matches.query_idx[layer][image_idx == image] - image * GROUPS * QUERIES
            assert own.tolist() == recorded[f'queries.{name}.{image}'].flatten().tolist()


def test_losses_of_every_layer_equal_the_reference(recorded, model, trained):
    preds, layers = trained
    names = ('loss_cls', 'loss_box', 'loss_giou')
    assert tuple(layers) == names
    found = torch.stack([layers[name].detach() for name in names], 1).numpy()
    np.testing.assert_allclose(found, recorded['losses'], rtol=1e-6)
    losses = model.train().head.loss(preds, gt_batch())
    for name, expected in zip(names, recorded['losses'][-2], strict=True):
        assert losses[name].item() == pytest.approx(expected, rel=1e-6)
    assert losses['loss_aux'].item() == pytest.approx(recorded['losses'][:-2].sum(), rel=1e-6)
    assert losses['loss_enc'].item() == pytest.approx(recorded['losses'][-1].sum(), rel=1e-6)


def test_gradients_equal_the_reference(recorded, model, trained):
    gradients = {KEYS.to_theirs(key): p.grad for key, p in model.named_parameters() if p.requires_grad}
    expected = {key.removeprefix('grad.'): value for key, value in recorded.items() if key.startswith('grad.')}
    assert set(gradients) == set(expected)
    for key, gradient in gradients.items():
        if key.endswith('k_proj.bias'):  # 0 but for rounding: a bias of all keys alike, which no softmax notices
            assert gradient.abs().max() < 1e-10 and expected[key][1] < 1e-10
        else:
            assert_matches(gradient, expected[key], 1e-6, key)


@pytest.fixture(scope='module')
def mask_model():
    """The detector with masks, in float64."""
    model = build('RFDETRSegmentHead').double()
    shapes = {KEYS.to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(KEYS.convert(state_of(shapes)))
    return model


def test_masks_of_all_queries_equal_the_reference(recorded, mask_model):
    mask_model.eval()
    with torch.no_grad():
        decoded = mask_model.head.decode(mask_model(images()))
        lazy = mask_model.head.masks_of(mask_model(images()))
    assert decoded['mask_logits'].shape == lazy.shape == (len(OBJECTS), QUERIES, SIDE // 4, SIDE // 4)
    for image, masks in enumerate(decoded['mask_logits']):
        assert_matches(masks, recorded[f'masks.{image}'], 1e-6, f'image {image}')
        torch.testing.assert_close(lazy[image, torch.tensor([3, 1])], masks[[3, 1]])


def test_losses_and_gradients_with_masks_equal_the_reference(recorded, mask_model, monkeypatch):
    monkeypatch.setattr(query_masks, 'keyed_uniform', lambda shape, like: points(shape[-2]).expand(shape))
    mask_model.train()
    gt = gt_batch()
    gt.masks = torch.zeros(*gt.labels.shape, SIDE, SIDE, dtype=torch.bool)
    for image, masks in enumerate(object_masks()):
        gt.masks[image, : len(masks)] = masks
    layers = mask_model.head.layer_losses(mask_model(images(), gt), gt)
    names = ('loss_cls', 'loss_box', 'loss_giou', 'loss_mask', 'loss_dice')
    assert tuple(layers) == names
    found = torch.stack([layers[name].detach() for name in names], 1).numpy()
    np.testing.assert_allclose(found, recorded['seg.losses'], rtol=1e-6)
    losses = mask_model.head.loss(mask_model(images(), gt), gt)
    assert sum(losses.values()).item() == pytest.approx(recorded['seg.losses'].sum(), rel=1e-6)
    sum(losses.values()).backward()
    gradients = {KEYS.to_theirs(key): p.grad for key, p in mask_model.named_parameters() if p.requires_grad}
    expected = {key.removeprefix('seg.grad.'): value for key, value in recorded.items() if key.startswith('seg.grad.')}
    assert set(gradients) == set(expected)
    for key, gradient in gradients.items():
        if key.endswith('k_proj.bias'):
            assert gradient.abs().max() < 1e-10 and expected[key][1] < 1e-10
        else:
            assert_matches(gradient, expected[key], 1e-6, key)
