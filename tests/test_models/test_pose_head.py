"""The pose head and its losses; equality with the reference is in test_pose_parity.py."""

import math

import numpy as np
import pytest
import torch
from yolov8_models import build_yolov8

from detkit.models.heads import YOLOv8PoseHead
from detkit.models.losses import KeypointLoss, KeypointVisibilityLoss
from detkit.structures import GtBatch
from detkit.structures.keypoints import COCO_SIGMAS
from detkit.structures.targets import KeypointTargets
from detkit.utils.errors import ConfigError


def gt_batch(counts, num_keypoints=17, with_keypoints=True):
    most = max(counts)
    valid = torch.arange(most) < torch.tensor(counts)[:, None]
    bboxes = torch.tensor([8.0, 8.0, 56.0, 48.0]).expand(len(counts), most, 4) * valid.unsqueeze(-1)
    keypoints = torch.tensor([20.0, 30.0, 2.0]).expand(len(counts), most, num_keypoints, 3) * valid[..., None, None]
    return GtBatch(
        labels=torch.where(valid, 0, -1),
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[64, 64]] * len(counts)),
        keypoints=keypoints if with_keypoints else None,
    )


def small_head(keypoint_shape=(17, 3), **options):
    torch.manual_seed(0)
    return YOLOv8PoseHead(2, [16, 16], [8, 16], keypoint_shape=keypoint_shape, **options)


FEATS = [torch.randn(2, 16, 8, 8), torch.randn(2, 16, 4, 4)]


@pytest.mark.parametrize('with_keypoints', [True, False])
@pytest.mark.parametrize('keypoint_shape', [(17, 3), (4, 2)])
def test_no_objects(keypoint_shape, with_keypoints):
    """A dataset may not know of keypoints where no image of the batch shows an object."""
    head = small_head(keypoint_shape)
    losses = head.loss(head(FEATS), gt_batch([0, 0], keypoint_shape[0], with_keypoints))
    assert losses['loss_pose'] == 0 and losses['loss_cls'] > 0
    assert losses.get('loss_kobj', 0) == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in head.parameters())


def test_names_and_order_of_losses():
    for shape, names in (((17, 3), ['box', 'pose', 'kobj', 'cls', 'dfl']), ((4, 2), ['box', 'pose', 'cls', 'dfl'])):
        head = small_head(shape)
        losses = head.loss(head(FEATS), gt_batch([2, 0], shape[0]))
        assert list(losses) == [f'loss_{name}' for name in names]
        assert all(torch.isfinite(value) and value > 0 for value in losses.values())


def test_objects_without_labelled_keypoints_learn_their_boxes_alone():
    head = small_head()
    gt = gt_batch([1, 1])
    gt.keypoints = gt.keypoints * 0
    losses = head.loss(head(FEATS), gt)
    assert losses['loss_pose'] == 0 and losses['loss_kobj'] > 0 and losses['loss_box'] > 0


def test_mistakes_are_named():
    head = small_head()
    with pytest.raises(ValueError, match='the batch has none.*keypoints=True'):
        head.loss(head(FEATS), gt_batch([1, 0], with_keypoints=False))
    with pytest.raises(ValueError, match='has 17 keypoints, but the data 5'):
        head.loss(head(FEATS), gt_batch([1, 0], 5))
    with pytest.raises(ConfigError, match='keypoint_shape'):
        small_head((17, 4))
    with pytest.raises(ValueError, match='3 positive sigmas'):
        KeypointLoss(3, sigmas=(0.1, 0.2))


def test_the_same_keypoints_whatever_the_layout_and_precision():
    model = build_yolov8('pose', 'n', 1).train()
    torch.manual_seed(0)
    images, gt = torch.rand(2, 3, 64, 64), gt_batch([2, 1])
    plain = model(images, gt, mode='loss')
    layout = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last), gt, mode='loss')
    for name, value in plain.items():
        assert layout[name].item() == pytest.approx(value.item(), rel=1e-3)
    with torch.autocast('cpu', torch.bfloat16):
        half = model(images, gt, mode='loss')
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in half.values())


def test_prediction_in_the_original_image():
    """A cell predicts (2 p + cell - .5) · stride, scaled back and moved into the image."""
    head = small_head((3, 3), test_cfg=dict(score_thr=0.5))
    preds = {name: [torch.zeros_like(level) for level in levels] for name, levels in head(FEATS).items()}
    for level in preds['cls_logits']:
        level -= 10
    preds['cls_logits'][1][0, 1, 2, 3] = 5  # a cell of stride 16, centre (3.5, 2.5)
    preds['keypoint_preds'][1][0, :, 2, 3] = torch.tensor([0, 0, 0, 0.25, -0.5, 3, 9, -9, -3])
    meta = dict(matrix=np.array([[2.0, 0, 4], [0, 2, 6], [0, 0, 1]]), ori_shape=(24, 30))
    first, second = head.predict(preds, [meta, meta])
    found = first.pred_instances
    assert found.keypoints.shape == (1, 3, 2) and found.keypoint_scores.shape == (1, 3) and found.labels.tolist() == [1]
    expected = np.array([[48, 32], [56, 16], [48 + 288, 32 - 288]])
    expected = ((expected - [4, 6]) / 2).clip(0, [30, 24])
    np.testing.assert_allclose(found.keypoints[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found.keypoint_scores[0], 1 / (1 + np.exp([0, -3, 3])), rtol=1e-5)
    assert second.pred_instances.keypoints.shape == (0, 3, 2)


def test_keypoint_loss_by_hand():
    loss = KeypointLoss(2, sigmas=(0.1, 0.5), loss_weight=3)
    keypoints, targets = torch.zeros(3, 2, 2), torch.tensor([[3.0, 4.0], [0.0, 1.0]]).expand(3, 2, 2)
    visible = torch.tensor([[True, True], [True, False], [False, False]])
    areas = torch.tensor([100.0, 50.0, 10.0])

    def term(square, sigma, area):
        return 1 - math.exp(-square / (2 * area * (2 * sigma) ** 2))

    first = (term(25, 0.1, 100) + term(1, 0.5, 100)) / 2
    every = loss(keypoints, KeypointTargets(targets, visible, areas), torch.tensor([True, True, True]))
    assert every.item() == pytest.approx(3 * (first + term(25, 0.1, 50)) / 3, rel=1e-5)
    one = loss(keypoints, KeypointTargets(targets, visible, areas), torch.tensor([True, False, False]))
    assert one.item() == pytest.approx(3 * first, rel=1e-5)
    assert loss(targets, KeypointTargets(targets, visible, areas), torch.tensor([True, True, True])) == 0
    assert loss(keypoints, KeypointTargets(targets, visible, areas), torch.tensor([False] * 3)) == 0


def test_sigmas_by_default():
    np.testing.assert_allclose(KeypointLoss(17).variances, (2 * np.array(COCO_SIGMAS)) ** 2, rtol=1e-6)
    np.testing.assert_allclose(KeypointLoss(4).variances, np.full(4, 0.25), rtol=1e-6)
    assert not small_head().loss_keypoint.state_dict()


def test_visibility_loss_by_hand():
    loss = KeypointVisibilityLoss(loss_weight=2)
    logits, visible = torch.tensor([[0.0, 2.0], [1.0, 1.0]]), torch.tensor([[True, False], [True, True]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert loss(logits, visible, torch.tensor([True, False])).item() == pytest.approx(2 * expected, rel=1e-6)
    assert loss(logits, visible, torch.tensor([False, False])) == 0
