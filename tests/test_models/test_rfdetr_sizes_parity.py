"""RF-DETRs of published sizes equal those of Hugging Face's transformers 5.24
(tests/parity/record_transformers_rfdetr_sizes.py says how they were recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from builders import build_model
from parity.rfdetr_shapes import PUBLISHED, PUBLISHED_CLASSES, published_images, published_objects, state_of
from parity.seeded import assert_matches

from detkit.converters.rfdetr_layout import RFDETR_KEYS
from detkit.structures.gt_batch import GtBatch

RECORDED = Path(__file__).parents[1] / 'parity' / 'rfdetr_sizes.npz'
KEYS = RFDETR_KEYS['hugging_face']
pytestmark = pytest.mark.slow


def gt_batch(side: int) -> GtBatch:
    """The ground truth of two images, the second of which is empty."""
    labels, bboxes = published_objects()
    centres, halves = bboxes[:, :2], bboxes[:, 2:] / 2
    corners = torch.cat([centres - halves, centres + halves], 1) * side
    valid = torch.stack([torch.ones(len(labels)), torch.zeros(len(labels))]).bool()
    return GtBatch(
        labels=torch.stack([labels, torch.full_like(labels, -1)]),
        bboxes=torch.stack([corners, torch.zeros_like(corners)]),
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[side, side]] * 2),
    )


@pytest.mark.parametrize('size', PUBLISHED)
def test_outputs_losses_and_gradients_equal_the_reference(size):
    side, layers = PUBLISHED[size]
    with np.load(RECORDED) as arrays:
        recorded = {key.removeprefix(f'{size}.'): arrays[key] for key in arrays if key.startswith(f'{size}.')}
    model = build_model('rfdetr', PUBLISHED_CLASSES, size=size).double()
    shapes = {KEYS.to_theirs(key): tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict(KEYS.convert(state_of(shapes)))

    def check(preds: dict, mode: str) -> None:
        for key in ('cls_logits', 'bbox_preds'):
            for index in range(layers):
                what = f'{mode}.{key}.{index}'
                assert_matches(preds[key][index], recorded[what], 1e-6, what)
            assert_matches(preds[f'enc_{key}'], recorded[f'{mode}.{key}.enc'], 1e-6, f'{mode}.{key}.enc')

    with torch.no_grad():
        preds = model.eval()(published_images(side))
    check(preds, 'eval')
    metas = [dict(img_shape=(side, side), ori_shape=(side, side), matrix=np.eye(3))] * 2
    for image, result in enumerate(model.head.predict(preds, metas)):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert_matches(table, recorded[f'detections.{image}'], 1e-6, f'image {image}')

    gt = gt_batch(side)
    preds = model.train()(published_images(side), gt)
    check({key: value.detach() for key, value in preds.items()}, 'train')
    found = model.head.layer_losses(preds, gt)
    names = ('loss_cls', 'loss_box', 'loss_giou')
    np.testing.assert_allclose(torch.stack([found[name].detach() for name in names], 1), recorded['losses'], rtol=1e-6)
    sum(model.head.loss(preds, gt).values()).backward()
    gradients = {KEYS.to_theirs(key): p.grad for key, p in model.named_parameters() if p.requires_grad}
    expected = {key.removeprefix('grad.'): value for key, value in recorded.items() if key.startswith('grad.')}
    assert set(gradients) == set(expected)
    largest = max(value[1] for value in expected.values())
    for key, gradient in gradients.items():
        if key.endswith('k_proj.bias'):  # 0 but for rounding: a bias of all keys alike, which no softmax notices
            assert max(gradient.abs().max(), expected[key][1]) < 1e-10 * largest
        else:
            assert_matches(gradient, expected[key], 1e-6, key)
