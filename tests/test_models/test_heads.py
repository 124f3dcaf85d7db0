"""YOLOv8's heads: what they take, give and refuse."""

from math import log

import numpy as np
import pytest
import torch
from gt_batches import make_gt

from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError

CHANNELS, STRIDES, SIZE = (16, 24, 32), (8, 16, 32), 64
KINDS = ['YOLOv8Head', 'YOLOv8SegmentHead']


def build(kind: str, **kwargs) -> torch.nn.Module:
    torch.manual_seed(0)
    return HEADS.build(dict(type=kind, num_classes=5, in_channels=CHANNELS, strides=STRIDES) | kwargs)


def features(batch_size: int = 2, height: int = SIZE, width: int = SIZE) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch_size, channels, height // stride, width // stride, generator=generator)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def metas(batch_size: int = 2, height: int = SIZE, width: int = SIZE) -> list[dict]:
    matrix, ori_shape = np.diag([0.5, 0.5, 1.0]), (height * 2, width * 2)
    return [dict(matrix=matrix, ori_shape=ori_shape, img_id=number) for number in range(batch_size)]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('counts', [[0, 0], [0, 3], [5, 2]])
def test_losses_reach_every_parameter(kind, counts):
    head = build(kind)
    losses = head.loss(head(features()), make_gt(counts, SIZE))
    names = ['loss_box', 'loss_seg', 'loss_cls', 'loss_dfl']
    assert list(losses) == (names if kind == 'YOLOv8SegmentHead' else [n for n in names if n != 'loss_seg'])
    for name, value in losses.items():
        assert value.dim() == 0 and value.isfinite()
        assert (value > 0) == (name == 'loss_cls' or sum(counts) > 0), name
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    if sum(counts) == 0:
        assert all(not parameter.grad.any() for name, parameter in head.named_parameters() if 'cls' not in name)


@pytest.mark.parametrize('kind', KINDS)
def test_an_image_without_objects_changes_only_the_class_loss_of_others(kind):
    head = build(kind).eval()  # normalisation would mix the images
    gt = make_gt([4, 0], SIZE)
    alone = GtBatch(gt.labels[:1], gt.bboxes[:1], gt.valid[:1], gt.flat_index, gt.img_shapes[:1], gt.masks[:1])
    preds = head(features())
    single = {
        name: [level[:1] for level in value] if isinstance(value, list) else value[:1] for name, value in preds.items()
    }
    both, one = head.loss(preds, gt), head.loss(single, alone)
    for name in both:
        # Losses are multiplied by the batch size; the averages are taken over positives.
        assert (both[name].item() == pytest.approx(2 * one[name].item(), rel=1e-5)) == (name != 'loss_cls')


def test_losses_do_not_depend_on_the_memory_layout():
    head = build('YOLOv8SegmentHead').double()
    preds, gt = head([feat.double() for feat in features()]), make_gt([5, 2], SIZE)
    turned = {
        name: [level.contiguous(memory_format=torch.channels_last) for level in value]
        if isinstance(value, list)
        else value.contiguous(memory_format=torch.channels_last)
        for name, value in preds.items()
    }
    expected = head.loss(preds, gt)
    for name, value in head.loss(turned, gt).items():
        torch.testing.assert_close(value, expected[name])


def test_losses_are_float32_under_autocast():
    head, gt = build('YOLOv8SegmentHead'), make_gt([5, 2], SIZE)
    expected = head.loss(head(features()), gt)
    with torch.autocast('cpu', torch.bfloat16):
        preds = head(features())
        assert preds['cls_logits'][0].dtype == torch.bfloat16
        losses = head.loss(preds, gt)
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=0.05)
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_label_smoothing_is_a_key():
    gt, feats = make_gt([5, 2], SIZE), features()
    plain, smooth = (
        build('YOLOv8Head', loss_cls=dict(type='BinaryCrossEntropyLoss', label_smoothing=eps)) for eps in (0.0, 0.1)
    )
    assert smooth.loss(smooth(feats), gt)['loss_cls'] > plain.loss(plain(feats), gt)['loss_cls']


def test_masks_are_needed():
    head, gt = build('YOLOv8SegmentHead'), make_gt([1, 0], SIZE)
    gt.masks = None
    with pytest.raises(ValueError, match='with_masks=True'):
        head.loss(head(features()), gt)
    detector = build('YOLOv8Head')
    assert detector.loss(detector(features()), gt)['loss_box'] > 0


@pytest.mark.parametrize('kind', KINDS)
def test_predictions_lie_in_the_original_image(kind):
    head = build(kind, test_cfg=dict(score_thr=0.0, max_per_img=20)).eval()
    results = head.predict(head(features(2, 64, 96)), metas(2, 64, 96))
    assert len(results) == 2
    for number, result in enumerate(results):
        found = result.pred_instances
        assert result.img_id == number and len(found) == 20
        assert found.bboxes.shape == (20, 4) and (found.scores.diff() <= 0).all() and found.labels.dtype == torch.int64
        assert (found.bboxes >= 0).all() and (found.bboxes <= torch.tensor([192.0, 128.0, 192.0, 128.0])).all()
        assert ((found.bboxes[:, 2:] - found.bboxes[:, :2]) > 0).all()
        assert ('masks' in found) == (kind == 'YOLOv8SegmentHead')
        if kind == 'YOLOv8SegmentHead':
            assert len(found.masks) == 20 and found.masks.img_shape == (128, 192) and found.masks.areas.any()
            assert len(found[found.scores > found.scores[5]].masks) == 5
            head.test_cfg['retina_masks'] = False
            again = head.predict(head(features(2, 64, 96)), metas(2, 64, 96))[number].pred_instances.masks
            head.test_cfg['retina_masks'] = True
            assert 0 < (again.to_bool() != found.masks.to_bool()).mean() < 0.05


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_found(kind):
    head = build(kind, test_cfg=dict(score_thr=0.999)).eval()
    for result in head.predict(head(features()), metas()):
        assert len(result.pred_instances) == 0 and result.pred_instances.bboxes.shape == (0, 4)


def test_knobs_may_be_turned_between_calls():
    head = build('YOLOv8Head', test_cfg=dict(score_thr=0.0)).eval()
    preds = head(features(1))
    full = head.predict(preds, metas(1))[0].pred_instances
    head.test_cfg.update(classes=[2], max_per_img=5)
    few = head.predict(preds, metas(1))[0].pred_instances
    assert len(few) == 5 and (few.labels == 2).all()
    assert torch.equal(few.scores, full.scores[full.labels == 2][:5])


@pytest.mark.parametrize('size', [(64, 64), (96, 32), (32, 160)])
@pytest.mark.parametrize('training', [True, False])
def test_shapes_of_raw_predictions(size, training):
    preds = build('YOLOv8SegmentHead').train(training)(features(2, *size))
    maps = [(size[0] // stride, size[1] // stride) for stride in STRIDES]
    assert [tuple(level.shape) for level in preds['cls_logits']] == [(2, 5, *m) for m in maps]
    assert [tuple(level.shape) for level in preds['bbox_preds']] == [(2, 64, *m) for m in maps]
    assert [tuple(level.shape) for level in preds['mask_coeffs']] == [(2, 32, *m) for m in maps]
    assert preds['mask_protos'].shape == (2, 32, size[0] // 4, size[1] // 4)


def test_initial_class_scores_are_rare():
    head = build('YOLOv8Head')
    for stride, branch in zip(STRIDES, head.cls_branches, strict=True):
        assert branch[-1].bias.tolist() == pytest.approx([log(5 / 5 / (640 / stride) ** 2)] * 5)


@pytest.mark.parametrize(
    ('kind', 'key', 'hint'),
    [('YOLOv8Head', 'score_th', 'score_thr'), ('YOLOv8SegmentHead', 'retina_mask', 'retina_masks')],
)
def test_a_mistyped_knob(kind, key, hint):
    with pytest.raises(ConfigError, match=f"{kind}.test_cfg has no '{key}'.*Did you mean '{hint}'"):
        build(kind, test_cfg={key: 0.5})


@pytest.mark.parametrize('reg_max', [0, 1])
def test_a_distribution_has_two_bins(reg_max):
    with pytest.raises(ConfigError, match=f'YOLOv8Head: reg_max is {reg_max}, .* at least 2 bins. YOLO26Head predicts'):
        HEADS.get('YOLOv8Head')(2, in_channels=(16,), strides=(8,), reg_max=reg_max)


def test_a_head_alone_needs_its_incoming_channels():
    with pytest.raises(ConfigError, match='in_channels and strides'):
        HEADS.build(dict(type='YOLOv8Head', num_classes=5))
    with pytest.raises(ConfigError, match='3 in_channels but 2 strides'):
        build('YOLOv8Head', strides=(8, 16))


@pytest.mark.parametrize(
    ('option', 'kind'),
    [
        ({'nms_pre': (1, 2, 3)}, 'a whole number'),
        ({'max_per_img': 1.5}, 'a whole number'),
        ({'score_thr': 'high'}, 'a number'),
        ({'iou_thr': True}, 'a number'),
        ({'multi_label': 1}, 'True or False'),
    ],
)
def test_options_of_prediction_of_another_kind_are_refused(option, kind):
    (name,) = option
    with pytest.raises(ConfigError, match=f'YOLOv8Head.test_cfg: {name} is .*, but must be {kind}'):
        build('YOLOv8Head', test_cfg=option)
