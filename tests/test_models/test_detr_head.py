"""The DETR detector and its head: sizes, padding, losses at the edges, results, and any backbone in front."""

from itertools import product

import numpy as np
import pytest
import torch
from coverings import every_pair
from detr_models import build_detr, small_detr, small_head
from gt_batches import make_gt
from test_combinations import BACKBONES, NECKS, neck_of

from detkit.models.heads.query_head import find_matches
from detkit.registry import DETECTORS, HEADS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError

LOSSES = ['loss_cls', 'loss_box', 'loss_giou', 'loss_aux']


def backward(losses: dict) -> None:
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()


def build_head(in_channels=(16,), **kwargs):
    torch.manual_seed(0)
    return HEADS.build(dict(small_head(**kwargs), in_channels=in_channels))


def make_feats(batch: int, height: int, width: int, channels: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, channels, height, width, generator=generator) * 4 - 2


# Sizes.


def test_parameters_are_those_published():
    model = build_detr('r50', device='meta')
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 41_302_368
    assert sum(p.numel() for p in model.parameters()) == 41_524_768
    frozen = {name.split('.')[1] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'conv1', 'layer1'}


@pytest.mark.parametrize(('name', 'stride'), [('r50', 32), ('r50_dc5', 16)])
def test_shapes_of_a_batch_of_608_by_760(name, stride):
    """On 'meta' nothing is computed: only shapes count."""
    model = build_detr(name, device='meta')
    inputs, grid = torch.empty(2, 3, 608, 760, device='meta'), (608 // stride, -(-760 // stride))
    feats = model.extract_feat(inputs)
    encoded = model.head.encode(feats, torch.zeros(2, 608, 760, dtype=torch.bool, device='meta'))
    layers = len(model.head.transformer.decoder_layers)
    assert [feat.shape for feat in feats] == [(2, 2048, *grid)]
    assert encoded.memory.shape == (2, 256, *grid) and encoded.decoded.shape == (layers, 2, 100, 256)
    preds = model(inputs)
    assert preds['cls_logits'].shape == (layers, 2, 100, 92) and preds['bbox_preds'].shape == (layers, 2, 100, 4)


# A DETR has no texts.
@pytest.mark.parametrize(('backbone', 'neck'), every_pair(BACKBONES, sorted(NECKS.keys() - {'text_pan'})))
def test_a_transformer_on_any_backbone_and_neck(backbone, neck):
    torch.manual_seed(0)
    model = small_detr(BACKBONES[backbone], neck_of(backbone, neck))
    gt = make_gt([2, 0])
    gt.img_shapes = torch.tensor([[64, 64], [40, 64]])
    losses = model(torch.rand(2, 3, 64, 64), gt, mode='loss')
    assert list(losses) == LOSSES
    backward(losses)
    # Every map but the last may be of no use.
    without = {name.split('.')[0] for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert without <= {'neck'}
    assert next(p for p in model.backbone.parameters() if p.requires_grad).grad.any()


@pytest.mark.parametrize(('backbone', 'neck'), every_pair(BACKBONES, ('none', 'pan')))
def test_masks_on_any_backbone(backbone, neck):
    """Here every map counts, be they two or three."""
    torch.manual_seed(0)
    transformer = dict(
        type='DETRTransformer', embed_dims=64, num_encoder_layers=1, num_decoder_layers=1, feedforward_dims=32
    )
    model = DETECTORS.build(
        dict(
            type='DETR',
            backbone=BACKBONES[backbone],
            neck=neck_of(backbone, neck),
            head=dict(type='DETRSegmentHead', num_classes=5, num_queries=6, transformer=transformer),
        )
    )
    gt = make_gt([2, 1])
    gt.masks = torch.rand(2, 2, 16, 16) > 0.5
    losses = model(torch.rand(2, 3, 64, 64), gt, mode='loss')
    assert {'loss_mask', 'loss_dice'} <= losses.keys()
    backward(losses)
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_the_keys_are_the_same_in_every_mode():
    model = small_detr(layers=3)
    x = torch.rand(1, 3, 64, 64)
    shapes = [{name: value.shape for name, value in model.train(mode)(x).items()} for mode in (True, False)]
    assert shapes[0] == shapes[1] == {'cls_logits': (3, 1, 10, 6), 'bbox_preds': (3, 1, 10, 4)}


# Padding.


def test_more_padding_changes_nothing():
    head = build_head().eval()
    feats, mask = make_feats(2, 5, 7), torch.zeros(2, 160, 224, dtype=torch.bool)
    mask[1, 100:] = True
    mask[1, :, 180:] = True
    wide, wide_mask = make_feats(2, 8, 9, seed=1), torch.ones(2, 256, 288, dtype=torch.bool)
    wide[:, :, :5, :7], wide_mask[:, :160, :224] = feats, mask
    expected, found = head([feats], mask), head([wide], wide_mask)
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= 1e-4 * value.abs().max()
    unmasked = head([wide])
    assert (unmasked['cls_logits'] - expected['cls_logits']).abs().max() > 1e-3


def test_a_mask_without_padding_is_like_none():
    head = build_head().eval()
    feats = make_feats(2, 3, 4)
    expected, found = head([feats]), head([feats], torch.zeros(2, 96, 128, dtype=torch.bool))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_the_mask_comes_from_the_ground_truth_or_from_the_data_samples():
    model = small_detr()
    inputs, gt = torch.zeros(2, 3, 64, 96), make_gt([1, 1])
    gt.img_shapes = torch.tensor([[64, 80], [50, 96]])
    samples = [DetDataSample(metainfo=dict(img_shape=(64, 96))), DetDataSample(metainfo=dict(img_shape=(30, 40)))]
    mask = model.padding_mask(inputs, gt, samples, 'loss')
    assert mask.dtype == torch.bool and mask.shape == (2, 64, 96)
    assert (~mask[0, :64, :80]).all() and mask[0, :, 80:].all() and (~mask[1, :50]).all() and mask[1, 50:].all()
    predicting = model.padding_mask(inputs, gt, samples, 'predict')
    assert not predicting[0].any() and (~predicting[1]).sum() == 30 * 40
    assert model.padding_mask(inputs, None, None, 'tensor') is None
    gt.img_shapes = torch.tensor([[64, 96], [64, 96]])
    assert model.padding_mask(inputs, gt, samples, 'loss') is None


def test_a_detector_of_dense_heads_passes_no_mask():
    backbone = dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    model = DETECTORS.build(dict(type='SingleStageDetector', backbone=backbone, head=small_head()))
    gt = make_gt([1])
    assert model.padding_mask(torch.zeros(1, 3, 64, 64), gt, None, 'loss') is None
    backward(model(torch.rand(1, 3, 64, 64), gt, mode='loss'))


# Losses.


def test_a_batch_without_objects():
    head = build_head()
    losses = head.loss(head([make_feats(2, 2, 2)]), make_gt([0, 0]))
    assert list(losses) == LOSSES
    assert losses['loss_box'] == 0 and losses['loss_giou'] == 0 and losses['loss_cls'] > 0
    backward(losses)
    assert head.fc_cls.weight.grad.any()
    assert not any(p.grad.any() for p in head.bbox_mlp.parameters())


def test_an_image_without_objects_beside_others():
    head = build_head()
    preds = head([make_feats(3, 2, 2)])
    layers = head.layer_losses(preds, make_gt([2, 0, 3]))
    assert [value.shape for value in layers.values()] == [(2,)] * 3
    without = {name: value[:, [0, 2]] for name, value in preds.items()}
    gt = make_gt([2, 0, 3])
    fewer = GtBatch(
        labels=gt.labels[[0, 2]],
        bboxes=gt.bboxes[[0, 2]],
        valid=gt.valid[[0, 2]],
        flat_index=gt.valid[[0, 2]].flatten().nonzero().squeeze(1),
        img_shapes=gt.img_shapes[[0, 2]],
    )
    expected = head.layer_losses(without, fewer)
    for name in ('loss_box', 'loss_giou'):
        torch.testing.assert_close(layers[name], expected[name])
    assert not torch.equal(layers['loss_cls'], expected['loss_cls'])


def test_more_objects_than_queries():
    head = build_head(num_queries=3)
    gt = make_gt([7, 2])
    preds = head([make_feats(2, 2, 2)])
    losses = head.loss(preds, gt)
    backward(losses)
    assigned = head.assigner(Candidates(preds['cls_logits'].detach(), preds['bbox_preds'].detach()), None, gt)
    matches = find_matches(assigned, gt, head.num_queries)
    assert matches.weight.sum(1).tolist() == [5, 5] and matches.avg_factor == 9
    labels = head._query_labels(matches, gt)
    assert labels.shape == (2, 6) and (labels == 5).sum(1).tolist() == [1, 1]
    # The four that found no query add nothing.
    bboxes, expected = matches.gather(preds['bbox_preds'], 1), 0.0
    targets = head.bbox_coder.encode(gt.bboxes, gt.img_shapes).flatten(0, 1)[gt.flat_index]
    for bbox, target, weight in zip(bboxes, targets, matches.weight[1], strict=True):
        expected += 5 * weight * (bbox - target).abs().sum() / 9
    torch.testing.assert_close(losses['loss_box'], expected)


def test_queries_learn_the_classes_of_their_objects():
    head = build_head(num_queries=4)
    gt = make_gt([2, 1])
    assigned = head.assigner(Candidates(torch.rand(2, 2, 4, 6), torch.rand(2, 2, 4, 4)), None, gt)
    labels = head._query_labels(find_matches(assigned, gt, head.num_queries), gt).view(2, 2, 4)
    for layer, image in product(range(2), range(2)):
        expected = [5] * 4
        for k in range(int(gt.valid[image].sum())):
            expected[assigned.prior_idx[layer, image, k, 0]] = int(gt.labels[image, k])
        assert labels[layer, image].tolist() == expected


def test_one_decoder_layer_has_no_auxiliary_losses():
    head = build_head(layers=1)
    assert list(head.loss(head([make_feats(1, 2, 2)]), make_gt([2]))) == LOSSES[:3]


def test_auxiliary_losses_are_added_up():
    head = build_head(layers=3)
    preds, gt = head([make_feats(2, 2, 2)]), make_gt([2, 1])
    losses, layers = head.loss(preds, gt), head.layer_losses(preds, gt)
    torch.testing.assert_close(losses['loss_aux'], sum(value[:2].sum() for value in layers.values()))
    for name, value in layers.items():
        torch.testing.assert_close(losses[name], value[2])
        alone = head.layer_losses({key: value[1:2] for key, value in preds.items()}, gt)[name]
        torch.testing.assert_close(alone, value[1:2])


def test_losses_that_are_no_number_reach_the_caller():
    head = build_head()
    preds = {name: value.clone() for name, value in head([make_feats(1, 2, 2)]).items()}
    preds['cls_logits'][:, 0, 0] = torch.nan
    assert torch.isnan(head.loss(preds, make_gt([2]))['loss_cls'])


def test_mixed_precision_predicts_boxes_in_single_precision():
    model = small_detr()
    gt = make_gt([2, 1])
    with torch.autocast('cpu', torch.bfloat16):
        preds = model(torch.rand(2, 3, 64, 64), gt)
        losses = model.head.loss(preds, gt)
    assert {value.dtype for value in (*preds.values(), *losses.values())} == {torch.float32}
    backward(losses)


@pytest.mark.parametrize('shape', [(5, 7), (31, 20), (33, 1)])
def test_an_image_smaller_than_the_stride(shape):
    """Alone, and beside a larger one."""
    torch.manual_seed(0)
    model = small_detr(BACKBONES['resnet'])
    small = make_gt([1], size=8)
    small.bboxes, small.img_shapes = torch.tensor([[[0.0, 0.0, shape[1], shape[0] / 2]]]), torch.tensor([shape])
    model.eval()  # the statistics of a single cell are none
    backward(model(torch.rand(1, 3, *shape), small, mode='loss'))

    gt = make_gt([1, 2], size=64)
    gt.img_shapes = torch.tensor([shape, (64, 64)])
    gt.bboxes[0] = gt.bboxes[0] * 0
    gt.bboxes[0, 0] = small.bboxes[0, 0]
    inputs = torch.rand(2, 3, 64, 64)
    backward(model(inputs, gt, mode='loss'))
    samples = [
        DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, matrix=np.eye(3))) for size in (shape, (64, 64))
    ]
    for result in model(inputs, data_samples=samples, mode='predict'):
        found = result.pred_instances
        assert len(found) == 10 and torch.isfinite(found.scores).all()
        assert (found.bboxes >= 0).all() and found.bboxes[:, 2].max() <= result.ori_shape[1]


# Results.


def known_preds(probabilities: list[list[float]], bboxes: list[list[float]]) -> dict:
    """Of one image, of a layer that counts behind one that does not."""
    cls_logits, bbox_preds = torch.tensor(probabilities).log()[None, None], torch.tensor(bboxes)[None, None]
    return dict(
        cls_logits=torch.cat([cls_logits.flip(2), cls_logits]), bbox_preds=torch.cat([bbox_preds.flip(2), bbox_preds])
    )


PREDS = known_preds(
    [[0.1, 0.2, 0.7], [0.15, 0.8, 0.05], [0.6, 0.3, 0.1]],
    [[0.5, 0.5, 0.2, 0.2], [0.25, 0.5, 0.5, 0.5], [0.9, 0.9, 0.4, 0.2]],
)
# A picture of 100 x 200, doubled, in a batch that is larger.
META = dict(img_shape=(200, 400), ori_shape=(100, 200), matrix=np.diag([2.0, 2.0, 1.0]), img_id=3)


def predict(**test_cfg):
    head = build_head(num_classes=2, num_queries=3, test_cfg=test_cfg)
    (result,) = head.predict(PREDS, [META])
    assert result.img_id == 3
    return result.pred_instances


def test_results_are_in_pixels_of_the_original_image():
    found = predict()
    assert found.labels.tolist() == [1, 0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.8, 0.6, 0.2]))
    torch.testing.assert_close(
        found.bboxes, torch.tensor([[0.0, 25.0, 100.0, 75.0], [140.0, 80.0, 200.0, 100.0], [80.0, 40.0, 120.0, 60.0]])
    )


def test_results_as_test_cfg_asks_for():
    assert predict(score_thr=0.5).labels.tolist() == [1, 0]
    assert predict(max_per_img=1).labels.tolist() == [1]
    assert predict(classes=[0]).labels.tolist() == [0]
    assert len(predict(score_thr=0.9)) == 0


def test_tools_may_set_what_concerns_other_heads():
    head = build_head(num_classes=2, num_queries=3)
    head.test_cfg.update(score_thr=0.5, iou_thr=0.7, multi_label=False, class_agnostic=True, classes=None)
    assert len(head.predict(PREDS, [META])[0].pred_instances) == 2


def test_no_images_give_no_results():
    head = build_head()
    assert head.predict(dict(cls_logits=torch.zeros(2, 0, 10, 6), bbox_preds=torch.zeros(2, 0, 10, 4)), []) == []


# Mistakes.


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(in_channels=None), ConfigError, 'DETRHead needs in_channels. A detector fills them in'),
        (dict(num_queries=0), ConfigError, 'num_classes and num_queries must be at least 1, found 5 and 0'),
        (dict(test_cfg=dict(score_th=0.1)), ConfigError, "test_cfg has no 'score_th'.*Did you mean 'score_thr'"),
        (
            dict(position_encoding=dict(type='SinePositionEncoding', embed_dims=64)),
            ConfigError,
            'position_encoding.embed_dims is 64, but the transformer has 32; leave it out',
        ),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        build_head(**arguments)
