"""DETR's masks: outputs, losses and gradients equal those of transformers 5.23 (see record_transformers_detr_masks)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.detr_mask_shapes import MASK_MODEL, object_masks
from parity.detr_shapes import IMG_SHAPES, NUM_CLASSES, detr_state, images, objects
from parity.seeded import assert_matches
from parity.shapes import IMG_SHAPE

from detkit.converters.detr_file import DETR_KEYS
from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch

RECORDED = Path(__file__).parents[1] / 'parity' / 'detr_masks.npz'
DETECTOR = 'detr.'  # what files put before the names of the parts that find boxes


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def published_name(name: str) -> str:
    theirs = DETR_KEYS['hugging_face'].to_theirs(name)
    return theirs if theirs.startswith(('mask_head', 'bbox_attention')) else DETECTOR + theirs


@pytest.fixture(scope='module')
def model(recorded):
    depth, encoder_layers, decoder_layers = MASK_MODEL
    transformer = dict(
        type='DETRTransformer', num_encoder_layers=encoder_layers, num_decoder_layers=decoder_layers, dropout=0.0
    )
    detr = DETECTORS.build(
        dict(
            type='DETR',
            backbone=dict(type='ResNet', depth=depth, out_indices=(1, 2, 3, 4), frozen_stages=-1, norm='frozen'),
            head=dict(type='DETRSegmentHead', num_classes=NUM_CLASSES, transformer=transformer),
        )
    ).double()
    shapes = {
        published_name(name): tuple(value.shape)
        for name, value in detr.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    detr.load_state_dict(DETR_KEYS['hugging_face'].convert(detr_state(shapes, int(recorded['seed']))))
    return detr.train()


def gt_batch() -> GtBatch:
    truth, counts = objects(), [len(labels) for labels, _ in objects()]
    labels = torch.full((len(truth), max(counts)), -1)
    bboxes = torch.zeros(*labels.shape, 4, dtype=torch.float64)
    masks = torch.zeros(*labels.shape, *IMG_SHAPE, dtype=torch.bool)
    for image, ((own_labels, cxcywh), own_masks, (height, width)) in enumerate(
        zip(truth, object_masks(), IMG_SHAPES, strict=True)
    ):
        labels[image, : counts[image]] = own_labels
        xyxy = torch.cat([cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, :2] + cxcywh[:, 2:] / 2], 1)
        bboxes[image, : counts[image]] = xyxy * torch.tensor([width, height] * 2)
        masks[image, : counts[image], :height, :width] = own_masks
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor(IMG_SHAPES),
        masks=masks,
    )


def test_masks_of_all_queries_equal_the_reference(recorded, model):
    with torch.no_grad():
        preds = model(images(int(recorded['seed'])), gt_batch(), mode='tensor')
    queries = model.head.num_queries
    for image in range(len(IMG_SHAPES)):
        masks = model.head.mask_logits(preds, torch.arange(queries) + image * queries)
        assert_matches(masks, recorded[f'masks.{image}'], 1e-6, f'image {image}')


def test_losses_and_gradients_equal_the_reference(recorded, model):
    model.zero_grad()
    losses = model(images(int(recorded['seed'])), gt_batch(), mode='loss')
    found = [losses[name].item() for name in ('loss_mask', 'loss_dice')]
    np.testing.assert_allclose(found, recorded['losses'], rtol=1e-6)
    sum(value for name, value in losses.items() if name != 'loss_aux').backward()
    gradients = {
        published_name(name): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    assert set(gradients) == {key.removeprefix('grad.') for key in recorded if key.startswith('grad.')}
    for name, gradient in gradients.items():
        expected = recorded[f'grad.{name}']
        if expected[1] < 1e-13:  # 0 but for rounding: a key's bias, which no softmax notices, attention to zeros
            assert gradient.abs().max() < 1e-12, name
        else:
            assert_matches(gradient, expected, 1e-6, name)
