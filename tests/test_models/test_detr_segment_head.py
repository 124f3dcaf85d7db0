"""DETR's masks: the head's parts, its losses and results. Numbers are compared in test_detr_mask_parity."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from detkit.models.layers import AttentionMaps
from detkit.models.layers.mask_decoder import MaskDecoder
from detkit.models.losses import MaskDiceLoss, MaskFocalLoss
from detkit.models.postprocess import merge_segments
from detkit.models.postprocess.mask_decoding import resample_masks
from detkit.registry import DETECTORS, HEADS
from detkit.structures import DetDataSample, GtBatch
from detkit.utils.errors import ConfigError

SIZE = (96, 128)


def build(backbone=None, **head):
    torch.manual_seed(0)
    transformer = dict(
        type='DETRTransformer',
        embed_dims=64,
        num_heads=8,
        num_encoder_layers=1,
        num_decoder_layers=2,
        feedforward_dims=48,
        dropout=0.0,
    )
    backbone = backbone or dict(type='ResNet', depth=18, out_indices=(1, 2, 3, 4), norm='frozen')
    return DETECTORS.build(
        dict(
            type='DETR',
            backbone=backbone,
            head=dict(type='DETRSegmentHead', num_classes=4, num_queries=6, transformer=transformer, **head),
        )
    )


def gt_batch(counts=(2, 0), index_map=False, img_shapes=(SIZE, (70, 100))):
    most = max(counts)
    labels = torch.full((len(counts), most), -1)
    bboxes = torch.zeros(len(counts), most, 4)
    masks = torch.zeros(len(counts), most, *SIZE, dtype=torch.bool)
    for image, count in enumerate(counts):
        for number in range(count):
            labels[image, number] = number % 4
            x, y = 8 + 12 * number, 6 + 7 * number
            bboxes[image, number] = torch.tensor([x, y, x + 10, y + 30])
            masks[image, number, y : y + 30, x : x + 10] = True
    valid = labels >= 0
    if index_map:
        masks = (masks * torch.arange(1, most + 1)[:, None, None]).sum(1).to(torch.uint8)
    return GtBatch(
        labels=labels,
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor(img_shapes),
        masks=masks,
    )


def images(count=2):
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def metas(img_shapes=(SIZE, (70, 100))):
    return [
        DetDataSample(
            metainfo=dict(img_shape=shape, ori_shape=(2 * shape[0], 2 * shape[1]), matrix=np.diag([0.5, 0.5, 1.0]))
        )
        for shape in img_shapes
    ]


def test_attention_maps_share_one_softmax_and_leave_padding_out():
    torch.manual_seed(0)
    layer = AttentionMaps(16, 4)
    padding = torch.zeros(2, 10, dtype=torch.bool)
    padding[1, 6:] = True
    queries, keys = torch.randn(2, 3, 16), torch.randn(2, 10, 16)
    maps = layer(queries, keys, padding)
    assert maps.shape == (2, 3, 4, 10)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))
    assert (maps[1, :, :, 6:] == 0).all() and (maps[0] > 0).all()
    torch.testing.assert_close(layer(queries[1:], keys[1:, :6])[0], maps[1, :, :, :6])


def test_the_decoder_works_out_once_an_image_what_it_may():
    """The same as convolving map and attention side by side, object by object."""
    torch.manual_seed(0)
    decoder = MaskDecoder(32, 8, (12, 6)).double()
    coarse, maps = torch.randn(2, 32, 3, 4).double(), torch.rand(5, 8, 3, 4).double()
    finer = [torch.randn(2, 12, 6, 7).double(), torch.randn(2, 6, 12, 14).double()]  # not twice as wide
    image_idx = torch.tensor([1, 0, 1, 1, 0])
    found = decoder(decoder.shared(coarse, finer), maps, image_idx)
    x = torch.cat([coarse[image_idx], maps], 1)
    for step, (conv, norm) in enumerate(zip(decoder.convs, decoder.norms, strict=True)):
        if step > 1:
            lateral = decoder.laterals[step - 2](finer[step - 2])[image_idx]
            x = F.interpolate(x, lateral.shape[-2:], mode='nearest') + lateral
        x = norm(conv(x)).relu()
    torch.testing.assert_close(found, decoder.conv_mask(x)[:, 0])
    assert found.shape == (5, 12, 14)
    with pytest.raises(ConfigError, match='embed_dims=32 and num_heads=4'):
        MaskDecoder(32, 4, (12, 6))


def test_losses_by_hand():
    logits, targets = torch.tensor([[0.0, 2.0], [5.0, 5.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    weight = torch.tensor([1.0, 0.0])  # the second is no mask
    p = torch.sigmoid(torch.tensor(2.0)).item()
    focal = (0.25 * 0.5**2 * np.log(2) + 0.75 * p**2 * -np.log(1 - p)) / 2
    assert MaskFocalLoss(loss_weight=3.0)(logits, targets, weight, 2.0).item() == pytest.approx(3 * focal / 2, rel=1e-6)
    dice = 1 - (2 * 0.5 + 1) / (0.5 + p + 1 + 1)
    assert MaskDiceLoss(loss_weight=3.0)(logits, targets, weight, 2.0).item() == pytest.approx(3 * dice / 2, rel=1e-6)
    plain = MaskFocalLoss(alpha=None, gamma=0.0)(logits, targets, weight, 1.0)
    torch.testing.assert_close(plain, F.binary_cross_entropy_with_logits(logits[0], targets[0]))
    for loss in (MaskFocalLoss(), MaskDiceLoss()):
        empty = torch.zeros(0, 8, requires_grad=True)
        value = loss(empty, torch.zeros(0, 8), torch.zeros(0), 1.0)
        value.backward()
        assert value == 0 and empty.grad is not None
    for wrong in (dict(alpha=1.5), dict(gamma=-1)):
        with pytest.raises(ValueError, match='MaskFocalLoss'):
            MaskFocalLoss(**wrong)


@pytest.mark.parametrize('counts', [(0, 0), (2, 0), (1, 9)], ids=['no object', 'one image empty', 'too many objects'])
def test_every_parameter_learns_whatever_the_batch(counts):
    model = build().train()
    losses = model(images(), gt_batch(counts), mode='loss')
    assert set(losses) == {'loss_cls', 'loss_box', 'loss_giou', 'loss_mask', 'loss_dice', 'loss_aux'}
    assert all(torch.isfinite(value) for value in losses.values())
    assert (losses['loss_dice'] > 0) == (sum(counts) > 0)
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.thorough
def test_masks_are_learnt():
    model = build(dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    gt, first = gt_batch((1, 1)), None
    inputs = images() * 0.1 + gt.masks.any(1)[:, None]
    for _ in range(60):
        losses = model(inputs, gt, mode='loss')
        first = first or losses['loss_dice'].item()
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert losses['loss_dice'].item() < 0.6 * first


def test_an_overlap_map_gives_the_same_losses():
    model = build().eval()
    with torch.no_grad():
        losses = [model(images(), gt_batch(index_map=flag), mode='loss') for flag in (False, True)]
    assert losses[0] == losses[1]


def test_masks_are_needed_to_learn_them():
    gt = gt_batch()
    gt.masks = None
    with pytest.raises(ValueError, match='with_masks=True'):
        build()(images(), gt, mode='loss')


def test_results():
    model = build(stuff_labels=(2, 3), test_cfg=dict(panoptic_score_thr=0.1)).eval()
    inputs = images()
    inputs[1, :, 70:] = inputs[1, :, :, 100:] = 0
    with torch.no_grad():
        results = model(inputs, gt_batch(), metas(), mode='predict')
        alone = model(inputs[1:, :, :70, :100], None, metas()[1:], mode='predict')[0]
    for result, (height, width) in zip(results, (SIZE, (70, 100)), strict=True):
        assert result.pred_instances.masks.img_shape == (2 * height, 2 * width)
        assert len(result.pred_instances.masks) == len(result.pred_instances.scores) == 6
        segments = result.pred_panoptic
        assert segments.index_map.shape == (2 * height, 2 * width) and len(segments) > 0
        assert (segments.areas > 4).all() and (segments.scores > 0.1).all()
        stuff = segments.labels[segments.labels >= 2]
        assert len(set(stuff.tolist())) == len(stuff)
    # Masks are what they are without padding, but for what convolutions and normalisation of groups see of it.
    agreement = results[1].pred_instances.masks.to_bool() == alone.pred_instances.masks.to_bool()
    assert agreement.mean() > 0.9
    with torch.no_grad():
        assert 'pred_panoptic' not in build().eval()(images(), gt_batch(), metas(), mode='predict')[0]


def test_few_results_need_few_masks():
    model = build(test_cfg=dict(score_thr=2.0), stuff_labels=()).eval()
    with torch.no_grad():
        result = model(images(1), None, metas([SIZE]), mode='predict')[0]
    assert len(result.pred_instances.masks) == 0 and len(result.pred_panoptic) == 0
    assert (result.pred_panoptic.index_map == 0).all()


@pytest.mark.parametrize(
    'backbone',
    [
        dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125),
        dict(type='Darknet', depth='tiny'),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_other_backbones(backbone):
    model = build(backbone).train()
    losses = model(images(), gt_batch(), mode='loss')
    assert torch.isfinite(losses['loss_mask'])


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match='stuff_labels has 4'):
        build(stuff_labels=(1, 4))
    with pytest.raises(ConfigError, match='panoptic_score_thr'):
        build(test_cfg=dict(panoptic_score=0.5))
    with pytest.raises(ConfigError, match='needs strides'):
        HEADS.build(dict(type='DETRSegmentHead', num_classes=2, in_channels=(8, 16)))


def test_resampling_is_that_of_torch_inside_the_image():
    """Enlarged by a whole factor, resampling is bilinear interpolation; cells in the padding are not read."""
    logits = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0)).double()
    found = resample_masks(logits, np.eye(3), (24, 32), (4.0, 4.0))
    torch.testing.assert_close(found, F.interpolate(logits[None], scale_factor=4, mode='bilinear')[0])
    cut = resample_masks(logits, np.diag([0.5, 0.5, 1.0]), (32, 40), (4.0, 4.0))  # 16 x 20 of the input's 24 x 32
    expected = F.interpolate(logits[None, :, :4, :5], scale_factor=8, mode='bilinear')[0]
    torch.testing.assert_close(cut, expected)
    with pytest.raises(ValueError, match='only scales and shifts'):
        resample_masks(logits, np.diag([-1.0, 1.0, 1.0]), (24, 32), (4.0, 4.0))


def test_segments_are_merged():
    """Two masks of stuff of one class are one segment, two of things two; a speck is given to its neighbours."""
    logits = torch.full((5, 10, 10), -9.0)
    logits[0, :5, :5] = 3  # sky
    logits[1, :5, 5:] = 3  # sky
    logits[2, 5:, :5] = 3  # cat
    logits[3, 5:, 5:] = 3  # cat
    logits[4, 5:7, 5:7] = 4  # dog, 4 pixels
    labels, scores = torch.tensor([2, 2, 0, 0, 1]), torch.tensor([0.7, 0.9, 0.8, 0.95, 0.9])
    segments = merge_segments(logits, scores, labels, (2,))
    assert segments.labels.tolist() == [2, 0, 0] and segments.areas.tolist() == [50, 25, 25]
    np.testing.assert_allclose(segments.scores, [0.9, 0.8, 0.95])
    assert (segments.index_map[:5] == 1).all() and (segments.index_map[5:, 5:] == 3).all()
    assert merge_segments(logits, scores, labels, (2,), min_area=3).areas.tolist() == [50, 25, 21, 4]
    assert merge_segments(logits, scores, labels, ()).labels.tolist() == [2, 2, 0, 0]
    assert len(merge_segments(logits, scores, labels, (), min_area=100)) == 0
    empty = merge_segments(logits[:0], scores[:0], labels[:0], (2,))
    assert len(empty) == 0 and empty.index_map.shape == (10, 10)


def test_segments_are_drawn():
    from detkit.visualization import draw_data_sample, draw_segments

    index_map = np.zeros((120, 200), np.int32)
    index_map[:60], index_map[60:110, :100], index_map[60:110, 100:] = 1, 2, 3
    from detkit.structures import PanopticSegments

    segments = PanopticSegments(index_map, np.array([2, 0, 0]))
    img = np.full((120, 200, 3), 128, np.uint8)
    drawn = draw_segments(img, segments, ('cat', 'dog', 'sky'))
    corners = [drawn[5, 5], drawn[105, 5], drawn[105, 195], drawn[115, 5]]
    assert len({tuple(corner) for corner in corners}) == 4  # two of a class differ in shade, void is darker
    assert (drawn[115, 5] < 128).all() and (drawn[60] == 255).all()
    assert (img == 128).all()
    sample = DetDataSample()
    sample.pred_panoptic = segments
    assert draw_data_sample(img, sample, 'pred', ('cat', 'dog', 'sky')).shape == img.shape
    with pytest.raises(ValueError, match='on an image of'):
        draw_segments(cv2.resize(img, (20, 20)), segments)
