"""``ImageClassifier`` and its parts: any backbone, losses, predictions."""

import math

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn
from yolov8_models import build_yolov8

from detkit.datasets.collate import collate
from detkit.engine.finetune import load_weights
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.registry import DETECTORS, HEADS, LOSSES
from detkit.structures.annotations import Annotations
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError, DataError


class TwoMaps(nn.Module):
    """A backbone that is none of detkit's; only its last map may count."""

    out_channels, out_strides = (5, 7), (4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, 4, 1), nn.Conv2d(5, 7, 3, 2, 1)

    def forward(self, x):
        fine = self.first(x)
        return fine * float('nan'), self.second(fine)


def gt_batch(labels: list[int] | None, count: int = 2) -> GtBatch:
    count = count if labels is None else len(labels)
    return GtBatch(
        labels=torch.zeros(count, 0, dtype=torch.int64),
        bboxes=torch.zeros(count, 0, 4),
        valid=torch.zeros(count, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.tensor([[32, 32]] * count),
        class_labels=None if labels is None else torch.tensor(labels),
    )


def classifier(**options) -> nn.Module:
    return DETECTORS.build(
        dict(type='ImageClassifier', backbone=TwoMaps(), head=dict(type='YOLOv8ClassifyHead', num_classes=4), **options)
    )


def packed(label: int, test_mode: bool = True) -> dict:
    meta = dict(img_path=f'{label}.png', img_id=str(label), ori_shape=(32, 32), img_shape=(32, 32), matrix=np.eye(3))
    sample = dict(
        inputs=torch.full((3, 32, 32), 40 * label, dtype=torch.uint8),
        annotations=Annotations(),
        meta=meta,
        class_label=label,
    )
    return {**sample, 'gt_raw': Annotations()} if test_mode else sample


def test_any_backbone_trains_and_predicts():
    model = classifier().train()
    assert model.head.in_channels == (5, 7) and model.head.conv.conv.in_channels == 7
    batch = model.data_preprocessor(collate([packed(1, False), packed(3, False)]), training=True)
    losses = model(**batch, mode='loss')
    assert list(losses) == ['loss_cls', 'top1'] and losses['loss_cls'].shape == ()
    losses['loss_cls'].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.head.parameters())
    assert torch.isfinite(model.backbone.second.weight.grad).all()
    results = model.eval().val_step(collate([packed(2), packed(0)]))
    assert [result.gt_label for result in results] == [2, 0] and [r.img_path for r in results] == ['2.png', '0.png']
    for result in results:
        assert result.pred_scores.shape == (4,) and result.pred_scores.sum() == pytest.approx(1, abs=1e-6)
        assert result.pred_label == int(result.pred_scores.argmax()) and type(result.pred_label) is int
        assert 'gt_instances' not in result and 'pred_instances' not in result


def test_every_size_of_backbone_gives_logits_with_a_neck_too():
    model = build_yolov8('cls', 'n', 3)
    assert [tuple(feat.shape) for feat in model.extract_feat(torch.zeros(1, 3, 64, 96))] == [(1, 256, 2, 3)]
    assert model(torch.zeros(2, 3, 64, 96))['cls_logits'].shape == (2, 3)
    with_neck = DETECTORS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='CSPDarknet', widen_factor=0.25, deepen_factor=0.33),
            neck=dict(type='SPP'),
            head=dict(type='YOLOv8ClassifyHead', num_classes=3),
        )
    )
    assert with_neck(torch.zeros(1, 3, 64, 64))['cls_logits'].shape == (1, 3)


def test_batch_normalisation_is_the_reference_s():
    model = build_yolov8('cls', 'n', 3)
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.1)}
    assert {(m.eps, m.momentum) for m in classifier().modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.03)}
    with pytest.raises(ConfigError, match="no key 'epsilon'; it takes eps"):
        classifier(batch_norm=dict(epsilon=1))


def test_loss_is_the_mean_and_smooths_labels():
    logits = torch.tensor([[2.0, 0.0, -1.0, 0.5], [0.0, 0.0, 3.0, 1.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 3])
    by_hand = -logits.detach().log_softmax(1)
    plain = LOSSES.build(dict(type='CrossEntropyLoss'))(logits, labels)
    assert plain.item() == pytest.approx((by_hand[0, 0] + by_hand[1, 3]).item() / 2)
    smooth = LOSSES.build(dict(type='CrossEntropyLoss', label_smoothing=0.2, loss_weight=3.0))(logits, labels)
    expected = 0.8 * (by_hand[0, 0] + by_hand[1, 3]) / 2 + 0.2 * by_hand.mean(1).mean()
    assert smooth.item() == pytest.approx(3 * expected.item())
    empty = LOSSES.build(dict(type='CrossEntropyLoss'))(logits[:0], labels[:0])
    empty.backward()
    assert empty.item() == 0 and (logits.grad == 0).all()
    with pytest.raises(ConfigError, match='label_smoothing'):
        LOSSES.build(dict(type='CrossEntropyLoss', label_smoothing=1.0))


def test_loss_does_not_grow_with_the_batch():
    head = classifier().head.eval()
    feats = (torch.zeros(1, 5, 4, 4), torch.rand(1, 7, 4, 4))
    one = head.loss(head(feats), gt_batch([2]))['loss_cls']
    three = head.loss(head([feat.repeat(3, 1, 1, 1) for feat in feats]), gt_batch([2, 2, 2]))['loss_cls']
    assert three.item() == pytest.approx(one.item(), rel=1e-5) and head.loss_reduction == 'mean'


def test_loss_and_scores_in_bf16_are_computed_in_float32():
    head = classifier().head.eval()
    preds = dict(cls_logits=torch.tensor([[3.0, 1.0, 0.0, 0.0]], dtype=torch.bfloat16))
    with torch.autocast('cpu', torch.bfloat16):
        loss = head.loss(preds, gt_batch([0]))['loss_cls']
        (result,) = head.predict(preds, [{}])
    assert loss.dtype == result.pred_scores.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2) + 2 * math.exp(-3)), rel=1e-5)


def test_dropout_acts_in_training_only():
    model = DETECTORS.build(
        dict(
            type='ImageClassifier', backbone=TwoMaps(), head=dict(type='YOLOv8ClassifyHead', num_classes=4, dropout=0.5)
        )
    )
    feats = (torch.zeros(2, 5, 4, 4), torch.rand(2, 7, 4, 4))
    model.eval()
    assert torch.equal(*(model.head(feats)['cls_logits'] for _ in range(2)))
    model.train()
    assert not torch.equal(*(model.head(feats)['cls_logits'] for _ in range(2)))


def test_classes_left_out_score_nothing():
    head = classifier().head
    preds = dict(cls_logits=torch.tensor([[3.0, 2.0, 1.0, 0.0]]))
    all_scores = head.predict(preds, [{}])[0].pred_scores
    head.test_cfg.update(classes=[1, 3], score_thr=0.25, max_per_img=300)
    (result,) = head.predict(preds, [{}])
    assert result.pred_label == 1 and result.pred_scores.tolist() == [0, all_scores[1], 0, all_scores[3]]
    head.test_cfg['classes'] = []
    with pytest.raises(ConfigError, match='no class to choose'):
        head.predict(preds, [{}])


def test_mistakes():
    with pytest.raises(ConfigError, match='needs in_channels'):
        HEADS.build(dict(type='YOLOv8ClassifyHead', num_classes=4))
    model = classifier()
    with pytest.raises(DataError, match='needs gt.class_labels.*ImageFolderDataset'):
        model(torch.rand(2, 3, 32, 32), gt_batch(None), mode='loss')


def test_fused_model_gives_the_same():
    model = build_yolov8('cls', 'n', 3).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = model(image)['cls_logits']
        after = fuse_conv_bn(model)(image)['cls_logits']
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_fine_tuning_copies_classes_by_name():
    old, new = (build_yolov8('cls', 'n', count) for count in (3, 2))
    report = load_weights(
        new, {'meta': {'classes': ['cat', 'dog', 'ant']}, 'state_dict': old.state_dict()}, ['bee', 'cat']
    )
    assert report.copied_classes == ['cat'] and set(report.reinitialised) == {'head.fc_cls.weight', 'head.fc_cls.bias'}
    assert torch.equal(new.head.fc_cls.weight[1], old.head.fc_cls.weight[0])


def test_samples_of_detection_have_no_class():
    sample = packed(1)
    del sample['class_label']
    batch = collate([sample])
    assert batch['gt'].class_labels is None and 'gt_label' not in batch['data_samples'][0]
    assert isinstance(batch['data_samples'][0].gt_instances, InstanceData)
