"""YOLOv8OBBHead in a detector: losses, results in the original image, what it refuses."""

import numpy as np
import pytest
import torch
from yolov8_models import build_yolov8

from detkit.models.heads import YOLOv8OBBHead
from detkit.models.losses import prob_iou
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.rotated_bboxes import rbbox_corners

CHANNELS, STRIDES = (16, 16, 16), (8, 16, 32)


def head(**kwargs) -> YOLOv8OBBHead:
    torch.manual_seed(0)
    return YOLOv8OBBHead(2, CHANNELS, STRIDES, **kwargs)


def feats(batch: int = 2, size: int = 64) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [
        torch.randn(batch, channels, size // stride, size // stride)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def gt_of(rbboxes: torch.Tensor | None, labels: torch.Tensor) -> GtBatch:
    valid = labels >= 0
    return GtBatch(
        labels=labels,
        bboxes=torch.zeros(*labels.shape, 4),
        valid=valid,
        rbboxes=rbboxes,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[64, 64]] * len(labels)),
    )


@pytest.mark.parametrize(
    'gt',
    [
        gt_of(torch.zeros(2, 0, 5), torch.zeros(2, 0, dtype=torch.int64)),
        gt_of(None, torch.zeros(2, 0, dtype=torch.int64)),
        gt_of(torch.zeros(2, 3, 5), torch.full((2, 3), -1)),
        gt_of(torch.tensor([[[20.0, 20.0, 30.0, 1.0, 0.3]]]).expand(2, 1, 5), torch.zeros(2, 1, dtype=torch.int64)),
    ],
    ids=['none', 'no rotated boxes', 'padding', 'a sliver'],
)
def test_images_without_objects_teach_the_classes_alone(gt):
    model = head()
    losses = model.loss(model(feats()), gt)
    assert list(losses) == ['loss_box', 'loss_cls', 'loss_dfl', 'loss_angle']
    assert losses['loss_cls'] > 0
    assert all(losses[name] == 0 for name in ('loss_box', 'loss_dfl', 'loss_angle'))
    sum(losses.values()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in gradients)


@pytest.mark.thorough
def test_learns_a_turned_box():
    model = head()
    images = feats()
    wanted = torch.tensor([32.0, 30.0, 44.0, 16.0, 2.1])
    gt = gt_of(wanted.expand(2, 1, 5), torch.ones(2, 1, dtype=torch.int64))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model.loss(model(images), gt).values()).backward()
        optimizer.step()
    model.eval()
    model.train()  # normalise by the batch, whose running mean is still young
    samples = model.predict(model(images), [dict(matrix=np.eye(3), ori_shape=(64, 64))] * 2)
    for sample in samples:
        found = sample.pred_instances
        assert found.labels[0] == 1 and found.scores[0] > 0.5
        assert prob_iou(found.rbboxes[0], wanted) > 0.8
        assert (found.scores.diff() <= 0).all()


def test_results_are_in_original_pixels():
    model = head(test_cfg=dict(score_thr=0.0, iou_thr=0.999, max_per_img=20)).eval()
    preds = model(feats(1))
    (plain,) = model.predict(preds, [dict(matrix=np.eye(3), ori_shape=(64, 64))])
    (scaled,) = model.predict(
        preds, [dict(matrix=np.array([[0.5, 0, 3], [0, 0.5, 7], [0, 0, 1]]), ori_shape=(90, 110))]
    )
    assert len(plain.pred_instances) == 20
    assert torch.allclose(
        scaled.pred_instances.rbboxes[:, :2],
        (plain.pred_instances.rbboxes[:, :2] - torch.tensor([3.0, 7.0])) * 2,
        atol=1e-3,
    )
    assert torch.allclose(scaled.pred_instances.rbboxes[:, 2:4], plain.pred_instances.rbboxes[:, 2:4] * 2, atol=1e-3)
    for sample, (height, width) in ((plain, (64, 64)), (scaled, (90, 110))):
        found = sample.pred_instances
        assert (found.rbboxes[:, 2] >= found.rbboxes[:, 3]).all()
        assert (found.rbboxes[:, 4] >= -np.pi / 4).all() and (found.rbboxes[:, 4] < 3 * np.pi / 4).all()
        corners = rbbox_corners(found.rbboxes.numpy())
        hulls = np.concatenate([corners.min(1), corners.max(1)], 1).clip(0, [width, height] * 2)
        assert found.bboxes.numpy() == pytest.approx(hulls, abs=1e-3)


def test_a_batch_without_rotated_boxes_is_refused():
    model = head()
    with pytest.raises(ValueError, match="labels='obb'"):
        model.loss(model(feats()), gt_of(None, torch.zeros(2, 1, dtype=torch.int64)))


def test_a_settled_angle_loss_may_be_left_out():
    model = head(loss_angle=dict(type='RotationLoss', loss_weight=0.0))
    gt = gt_of(torch.tensor([[[32.0, 30.0, 44.0, 16.0, 1.0]]]).expand(2, 1, 5), torch.zeros(2, 1, dtype=torch.int64))
    losses = model.loss(model(feats()), gt)
    assert losses['loss_angle'] == 0 and losses['loss_box'] > 0


def test_a_detector_predicts_data_samples():
    model = build_yolov8('obb', num_classes=3).eval()
    model.head.test_cfg.update(score_thr=0.0, max_per_img=5)
    sample = DetDataSample(metainfo=dict(matrix=np.eye(3), ori_shape=(64, 64)))
    with torch.no_grad():
        (result,) = model(torch.rand(1, 3, 64, 64), data_samples=[sample], mode='predict')
    assert result.pred_instances.rbboxes.shape == (5, 5)
