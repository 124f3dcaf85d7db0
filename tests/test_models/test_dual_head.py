"""Heads with two assignments, the one-to-one assignment, and predictions without suppression."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from detkit.engine.hooks import LossShareHook
from detkit.models.assigners import TaskAlignedAssigner
from detkit.models.heads import YOLO26Head, YOLOv8Head
from detkit.models.postprocess import top_scores
from detkit.models.priors import PointPriorGenerator
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError


def truth(bboxes: list, labels: list) -> GtBatch:
    labels = torch.tensor([labels], dtype=torch.int64)
    return GtBatch(
        labels=labels,
        bboxes=torch.tensor([bboxes], dtype=torch.float32).view(1, -1, 4),
        valid=labels >= 0,
        flat_index=(labels >= 0).flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[64, 64]]),
    )


def test_one_to_one_keeps_the_best_positive_of_each_box():
    torch.manual_seed(0)
    gt = truth([[0, 0, 40, 40], [16, 16, 60, 60], [0, 0, 0, 0]], [0, 1, -1])
    priors = PointPriorGenerator((8, 16))(((8, 8), (4, 4)))
    lows = priors.points - priors.strides[:, None] * (1 + torch.rand(80, 2))
    highs = priors.points + priors.strides[:, None] * (1 + torch.rand(80, 2))
    preds = Candidates(torch.randn(1, 80, 2), torch.cat([lows, highs], 1)[None])
    many, one = (TaskAlignedAssigner(topk=7, keep=keep)(preds, priors, gt) for keep in (None, 1))
    assert one.prior_idx.shape == (1, 3, 1) and one.valid.flatten().tolist() == [True, True, False]
    for box in (0, 1):
        own = many.valid & (many.gt_idx == box)
        best = many.prior_idx[own][many.scores[own].argmax()]
        assert one.prior_idx[0, box, 0] == best and one.gt_idx[0, box, 0] == box
    assert len(set(one.prior_idx[0, :2, 0].tolist())) == 2 and (one.scores[one.valid] > 0).all()
    empty = TaskAlignedAssigner(keep=1)(preds, priors, truth([], []))
    assert empty.prior_idx.shape == (1, 0, 1)


def test_predictions_have_gradients_for_class_activation_maps():
    head = YOLO26Head(2, in_channels=(16,), strides=(8,)).eval()
    feats = [torch.randn(1, 16, 8, 8, requires_grad=True)]
    head(feats)['cls_logits'][0].sum().backward()
    assert feats[0].grad.any()


def test_the_one_to_one_branches_leave_the_features_alone():
    torch.manual_seed(0)
    head = YOLO26Head(2, in_channels=(16, 16), strides=(8, 16))
    assert torch.equal(head.bbox_branches[0][0].conv.weight, head.one_to_one.bbox_branches[0][0].conv.weight)
    feats = [torch.randn(1, 16, 8, 8, requires_grad=True), torch.randn(1, 16, 4, 4, requires_grad=True)]
    gt = truth([[4, 4, 50, 50]], [1])
    for share, learns in ((0.0, False), (1.0, True)):
        head.many_weight = share
        sum(head.loss(head(feats), gt).values()).backward()
        assert bool(feats[0].grad.any()) == learns
    assert head.one_to_one.cls_branches[0][-1].weight.grad.any()
    with torch.no_grad():
        preds = head.eval()(feats)
        assert set(preds) == {'cls_logits', 'bbox_preds'} and len(head(feats, gt=gt)) == 4
        with pytest.raises(ValueError, match='no many_cls_logits'):
            head.loss(preds, gt)


def test_the_best_scores_are_taken_without_suppression():
    bboxes = torch.arange(12.0).view(3, 4)
    scores = torch.tensor([[0.9, 0.8], [0.1, 0.7], [0.3, 0.2]])
    (found,) = top_scores([bboxes], [scores], max_per_img=2)
    assert found.prior_idx.tolist() == [0, 0] and found.labels.tolist() == [0, 1]
    (found,) = top_scores([bboxes], [scores], multi_label=False, score_thr=0.25)
    assert found.prior_idx.tolist() == [0, 1, 2] and torch.equal(found.bboxes[1], bboxes[1])
    (found,) = top_scores([bboxes], [scores], classes=[1], score_thr=0.25)
    assert found.labels.tolist() == [1, 1] and found.prior_idx.tolist() == [0, 1]
    assert len(top_scores([bboxes[:0]], [scores[:0]])[0].scores) == 0


def test_the_share_of_the_losses_falls_with_the_epoch():
    hook = LossShareHook()
    assert [hook.weight(epoch, 8) for epoch in (0, 7)] == pytest.approx([0.8, 0.1])
    assert hook.weight(0, 1) == 0.8 and hook.weight(3, 7) == pytest.approx(0.45)
    with pytest.raises(ConfigError, match='first is 2'):
        LossShareHook(first=2)


def runner_of(model):
    return SimpleNamespace(cfg={}, model=model, train_loop=SimpleNamespace(epoch=1, max_epochs=3))


def test_the_share_is_set_on_any_head_that_has_one():
    own = nn.Module()
    own.head = nn.Identity()
    own.head.many_weight = 0.5
    LossShareHook().before_train(runner_of(own))
    LossShareHook().before_train_epoch(runner_of(own))
    assert own.head.many_weight == pytest.approx(0.45)


@pytest.mark.parametrize(
    ('head', 'name'), [(None, 'NoneType'), (YOLOv8Head(2, in_channels=(16,), strides=(8,)), 'YOLOv8Head')]
)
def test_a_model_without_two_assignments_is_refused(head, name):
    model = nn.Module()
    if head is not None:
        model.head = head
    with pytest.raises(ConfigError, match=f'{name} has no many_weight, which every DualAssignmentHead has'):
        LossShareHook().before_train(runner_of(model))
