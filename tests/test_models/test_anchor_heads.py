"""The heads of anchors: their losses written out object by object, what they take, give and refuse."""

from contextlib import nullcontext
from math import exp, log

import numpy as np
import pytest
import torch
from gt_batches import make_gt

from detkit.models.heads.anchor_slots import AnchorSlots
from detkit.models.losses import aligned_iou
from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError

CHANNELS, STRIDES, SIZE = (16, 24, 32), (8, 16, 32), 64
ANCHORS = [[(10, 13), (16, 30), (33, 23)], [(30, 61), (62, 45), (59, 119)], [(116, 90), (156, 198), (373, 326)]]
KINDS = ['YOLOv3Head', 'YOLOv5Head']


def build(kind: str, **kwargs) -> torch.nn.Module:
    torch.manual_seed(0)
    return HEADS.build(dict(type=kind, num_classes=5, in_channels=CHANNELS, strides=STRIDES) | kwargs)


def features(batch_size: int = 2, height: int = SIZE, width: int = SIZE) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch_size, channels, height // stride, width // stride, generator=generator)
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def metas(batch_size: int = 2) -> list[dict]:
    return [dict(matrix=np.diag([0.5, 0.5, 1.0]), ori_shape=(SIZE * 2, SIZE * 2), img_id=i) for i in range(batch_size)]


def truth(bboxes: list[list[float]], labels: list[int], size: int) -> GtBatch:
    """One image."""
    count = len(labels)
    return GtBatch(
        labels=torch.tensor([labels]).long().view(1, count),
        bboxes=torch.tensor(bboxes, dtype=torch.float64).view(1, count, 4),
        valid=torch.ones(1, count, dtype=torch.bool),
        flat_index=torch.arange(count),
        img_shapes=torch.tensor([[size, size]]),
    )


# ---- YOLOv3's losses by hand: one level of 2 x 2 cells of 32 pixels, one anchor of 32 x 32, two classes


def one_level(**kwargs) -> torch.nn.Module:
    return HEADS.build(
        dict(
            type='YOLOv3Head',
            num_classes=2,
            in_channels=(1,),
            strides=(32,),
            anchors=[[(32, 32)]],
            img_size=64,
            **kwargs,
        )
    )


def one_level_preds(first: list[float]) -> dict[str, list[torch.Tensor]]:
    """Zeros for boxes and classes, an objectness of 1 in 4; ``first`` is the whole row of the first cell."""
    rows = torch.zeros(1, 4, 7, dtype=torch.float64)
    rows[..., 4] = -log(3)
    rows[0, 0] = torch.tensor(first)
    return dict(anchor_preds=[rows.transpose(1, 2).reshape(1, 7, 2, 2).requires_grad_()])


QUIET = log(4 / 3)  # the cross entropy of a cell without an object whose objectness is 1 in 4
OBJ, CLS = 64.3 * 64 / 320, 37.4 * 2 / 80  # the weights for images of 64 pixels and two classes


def test_an_image_without_objects_by_hand():
    preds = one_level_preds([0, 0, 0, 0, -log(3), 0, 0])
    losses = one_level().loss(preds, truth([], [], 64))
    assert list(losses) == ['loss_box', 'loss_obj', 'loss_cls']
    assert losses['loss_box'] == 0 and losses['loss_cls'] == 0
    assert losses['loss_obj'].item() == pytest.approx(OBJ * QUIET)
    sum(losses.values()).backward()
    gradient = preds['anchor_preds'][0].grad
    assert gradient[:, 4].flatten().tolist() == pytest.approx([OBJ / 4 / 4] * 4)  # sigmoid / cells
    assert not gradient[:, :4].any() and not gradient[:, 5:].any()


def test_one_object_by_hand():
    # Predicted is the anchor about the cell's centre, 0 0 32 32; the box is half of it: IoU and GIoU 1 / 2.
    losses = one_level().loss(one_level_preds([0, 0, 0, 0, log(3), log(4), 0]), truth([[0, 8, 32, 24]], [1], 64))
    assert losses['loss_box'].item() == pytest.approx(3.54 * 0.5)
    # -(1/2 log 3/4 + 1/2 log 1/4), and three quiet cells.
    assert losses['loss_obj'].item() == pytest.approx(OBJ * (0.5 * log(4 / 3) + 0.5 * log(4) + 3 * QUIET) / 4)
    # Class 0, 4 in 5, is not there; class 1, even odds, is.
    assert losses['loss_cls'].item() == pytest.approx(CLS * (log(5) + log(2)) / 2)


def test_several_objects_in_one_cell_by_hand():
    """Each counts in the means of boxes and classes; the last one says what the objectness should be."""
    gt = truth([[0, 8, 32, 24], [0, 0, 32, 32], [4, 16, 28, 48], [28, 28, 36, 36]], [1, 0, 1, 0], 64)
    # The third: 24 x 32 about (16, 32), in the cell below; IoU with 0 32 32 64: 24 · 16 / (1024 + 768 - 384), and of
    # the hull 32 x 48 a share of (1536 - 1408) / 1536 is covered by neither. The last: 8 x 8 about (32, 32), in the
    # fourth cell; its shape's IoU 1 / 16 is not enough.
    third = 384 / 1408 - 128 / 1536
    losses = one_level().loss(one_level_preds([0, 0, 0, 0, log(3), log(4), 0]), gt)
    assert losses['loss_box'].item() == pytest.approx(3.54 * (0.5 + 0 + 1 - third) / 3)
    below = (1 - third) * log(4 / 3) + third * log(4)
    assert losses['loss_obj'].item() == pytest.approx(OBJ * (log(4 / 3) + below + 2 * QUIET) / 4)
    second_object = log(1.25) + log(2)  # class 0 at 4 in 5 is there, class 1 at even odds is not
    assert losses['loss_cls'].item() == pytest.approx(CLS * (log(5) + log(2) + second_object + 2 * log(2)) / 6)


def test_label_smoothing_and_focal_loss_by_hand():
    head = one_level(
        loss_obj=dict(type='BinaryFocalLoss', gamma=2.0, alpha=0.25, loss_weight=64.3),
        loss_cls=dict(type='BinaryCrossEntropyLoss', label_smoothing=0.1, loss_weight=37.4),
    )
    losses = head.loss(one_level_preds([0, 0, 0, 0, log(3), log(4), 0]), truth([[0, 0, 32, 32]], [0], 64))
    # Right with 3 in 4: a quarter of alpha 1/16; the others, wrong by 1 in 4, 3/4 of 1/16.
    assert losses['loss_obj'].item() == pytest.approx(OBJ * (0.25 + 3 * 0.75) / 16 * log(4 / 3) / 4)
    smooth = -(0.95 * log(0.8) + 0.05 * log(0.2)) + log(2)
    assert losses['loss_cls'].item() == pytest.approx(CLS * smooth / 2)


def test_a_share_of_the_objectness_does_not_depend_on_the_overlap():
    losses = one_level(obj_iou_ratio=0.4).loss(
        one_level_preds([0, 0, 0, 0, log(3), log(4), 0]), truth([[0, 8, 32, 24]], [1], 64)
    )
    assert losses['loss_obj'].item() == pytest.approx(OBJ * (0.8 * log(4 / 3) + 0.2 * log(4) + 3 * QUIET) / 4)


def test_sizes_that_explode_are_limited():
    preds = one_level_preds([0, 0, 90.0, 800.0, 0, 0, 0])
    losses = one_level().loss(preds, truth([[0, 0, 32, 32]], [0], 64))
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values()) and preds['anchor_preds'][0].grad.isfinite().all()


# ---- both heads, object by object


def matches(kind: str, bbox: list[float], shape: tuple[int, int], stride: int) -> list[tuple[int, int, int]]:
    """Cells in which an anchor learns a box, as (number, x, y); 0 is the centre's, then left, above, right, below."""
    w, h = bbox[2] - bbox[0], bbox[3] - bbox[1]
    x, y = (bbox[0] + bbox[2]) / 2 / stride, (bbox[1] + bbox[3]) / 2 / stride
    cells, limit = [(0, int(x), int(y))], SIZE / stride
    if kind == 'YOLOv3Head':
        overlap = min(w, shape[0]) * min(h, shape[1])
        return cells if overlap / (w * h + shape[0] * shape[1] - overlap) > 0.2 else []
    if max(w / shape[0], shape[0] / w, h / shape[1], shape[1] / h) >= 4:
        return []
    if x % 1 < 0.5 and x > 1:
        cells.append((1, int(x) - 1, int(y)))
    if y % 1 < 0.5 and y > 1:
        cells.append((2, int(x), int(y) - 1))
    if x % 1 > 0.5 and x < limit - 1:
        cells.append((3, int(x) + 1, int(y)))
    if y % 1 > 0.5 and y < limit - 1:
        cells.append((4, int(x), int(y) + 1))
    return cells


def by_the_rule(kind: str, levels: list[torch.Tensor], gt: GtBatch) -> list[float]:
    """Losses of boxes, objectness and classes before gains, batch size and levels' weights: of each level a triple."""

    def cross_entropy(logit: float, target: float) -> float:
        return log(1 + exp(-abs(logit))) + max(logit, 0) - target * logit

    losses = []
    for level, shapes, stride in zip(levels, ANCHORS, STRIDES, strict=True):
        table = level.unflatten(1, (3, 10)).permute(0, 1, 3, 4, 2)  # (B, A, h, w, 10)
        boxes, classes, objectness = [], [], {}
        found = [
            (slot, box, image, a, x, y)
            for image in range(len(level))
            for box in range(int(gt.valid[image].sum()))
            for a in range(3)
            for slot, x, y in matches(kind, gt.bboxes[image, box].tolist(), shapes[a], stride)
        ]
        for _, box, image, a, x, y in sorted(found):
            row, (w, h) = table[image, a, y, x], shapes[a]
            sigmoids = row.sigmoid().tolist()
            if kind == 'YOLOv3Head':
                cx, cy = sigmoids[0] + x, sigmoids[1] + y
                w, h = w * exp(row[2]) / stride, h * exp(row[3]) / stride
            else:
                cx, cy = 2 * sigmoids[0] - 0.5 + x, 2 * sigmoids[1] - 0.5 + y
                w, h = w * (2 * sigmoids[2]) ** 2 / stride, h * (2 * sigmoids[3]) ** 2 / stride
            bbox = torch.tensor([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dtype=torch.float64)
            overlap = aligned_iou(
                bbox, gt.bboxes[image, box].double() / stride, 'giou' if kind == 'YOLOv3Head' else 'ciou'
            ).item()
            boxes.append(1 - overlap)
            objectness[image, a, y, x] = max(overlap, 0)
            classes += [
                cross_entropy(logit, float(label == gt.labels[image, box]))
                for label, logit in enumerate(row[5:].tolist())
            ]
        loss_obj = [
            cross_entropy(logit.item(), objectness.get(place, 0.0))
            for place in np.ndindex(*table.shape[:4])
            for logit in [table[place][4]]
        ]
        losses.append((np.mean(boxes or [0]), np.mean(loss_obj), np.mean(classes or [0])))
    return losses


@pytest.mark.parametrize('way', ['of a CPU', 'of a GPU'])
@pytest.mark.parametrize('counts', [[0, 0], [0, 3], [12, 5]])
@pytest.mark.parametrize('kind', KINDS)
def test_losses_equal_the_rule(kind, counts, way, monkeypatch):
    if way == 'of a GPU':
        monkeypatch.setattr(AnchorSlots, 'filled', lambda self: self)
    head, gt = build(kind).double(), make_gt(counts, SIZE)
    preds = head([2 * feat.double() for feat in features()])
    losses = head.loss(preds, gt)
    expected = np.array(by_the_rule(kind, [level.detach() for level in preds['anchor_preds']], gt))
    if kind == 'YOLOv3Head':
        weights = np.array([3.54, 64.3 * 64 / 320, 37.4 * 5 / 80])
    else:
        weights = np.array([0.05, (64 / 640) ** 2, 0.5 * 5 / 80])
        expected[:, 1] *= [4, 1, 0.4]
    for value, wanted in zip(losses.values(), expected.sum(0) * weights * 2, strict=True):
        assert value.item() == pytest.approx(wanted, rel=1e-6)
    sum(losses.values()).backward()
    for parameter in head.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()


@pytest.mark.parametrize('kind', KINDS)
def test_both_ways_give_the_same_gradients(kind, monkeypatch):
    head, gt, gradients = build(kind).double(), make_gt([12, 5], SIZE), []
    for _ in range(2):
        feats = [feat.double().requires_grad_() for feat in features()]
        sum(head.loss(head(feats), gt).values()).backward()
        gradients.append([feat.grad for feat in feats])
        monkeypatch.setattr(AnchorSlots, 'filled', lambda self: self)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('kind', KINDS)
def test_a_loss_asks_for_no_value(kind, monkeypatch):
    """Tensors without values stand for a GPU's: whatever waits for one, such as a count, fails with them."""
    monkeypatch.setattr(torch, 'autocast', lambda *args, **kwargs: nullcontext())  # there is none for such tensors
    head = build(kind, loss_obj=dict(type='BinaryFocalLoss')).to('meta')
    feats = [feat.to('meta').requires_grad_() for feat in features()]
    losses = head.loss(head(feats), make_gt([5, 2], SIZE).to('meta'))
    sum(losses.values()).backward()
    assert all(feat.grad.shape == feat.shape for feat in feats)


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_of_the_shared_buffer(kind):
    """The look-up's own backward pass equals differences of the losses."""
    # Without the overlap in the objectness' target, which moves with the box but is not differentiated.
    head, gt = build(kind, num_classes=2, obj_iou_ratio=0.0).double(), make_gt([6, 2], SIZE, num_classes=2)
    levels = [level.detach().requires_grad_() for level in head([feat.double() for feat in features()])['anchor_preds']]

    def losses(*levels):
        return tuple(head.loss(dict(anchor_preds=list(levels)), gt).values())

    assert torch.autograd.gradcheck(losses, levels, fast_mode=True)


@pytest.mark.parametrize('kind', KINDS)
def test_losses_do_not_depend_on_the_memory_layout(kind):
    head, gt = build(kind).double(), make_gt([5, 2], SIZE)
    preds = head([feat.double() for feat in features()])
    turned = dict(anchor_preds=[level.contiguous(memory_format=torch.channels_last) for level in preds['anchor_preds']])
    expected = head.loss(preds, gt)
    for name, value in head.loss(turned, gt).items():
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize('kind', KINDS)
def test_losses_are_float32_under_autocast(kind):
    head, gt = build(kind), make_gt([5, 2], SIZE)
    expected = head.loss(head(features()), gt)
    with torch.autocast('cpu', torch.bfloat16):
        preds = head(features())
        assert preds['anchor_preds'][0].dtype == torch.bfloat16
        losses = head.loss(preds, gt)
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=0.05)
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize('kind', KINDS)
def test_one_class_is_not_learnt(kind):
    head = build(kind, num_classes=1)
    losses = head.loss(head(features()), make_gt([5, 2], SIZE, num_classes=1))
    assert losses['loss_cls'] == 0 and losses['loss_box'] > 0
    sum(losses.values()).backward()
    classes = [conv.bias.grad.view(3, 6)[:, 5] for conv in head.convs]
    assert not torch.cat(classes).any()


def test_gains_follow_size_batch_and_levels():
    gt, feats = make_gt([5, 2], SIZE), features()

    def losses(kind, **kwargs):
        head = build(kind, **kwargs)
        return {name: value.item() for name, value in head.loss(head(feats), gt).items()}

    for kind, factor in (('YOLOv3Head', 2), ('YOLOv5Head', 4)):
        plain = losses(kind)
        assert losses(kind, img_size=SIZE) == plain
        larger = losses(kind, img_size=2 * SIZE)
        assert larger['loss_obj'] == pytest.approx(factor * plain['loss_obj'])
        assert larger['loss_box'] == plain['loss_box'] and larger['loss_cls'] == plain['loss_cls']
        mean = losses(kind, nominal_batch_size=64)
        assert mean == pytest.approx({name: value / 64 for name, value in plain.items()})


def test_weights_are_those_of_three_levels():
    three, one = (
        build('YOLOv5Head', in_channels=CHANNELS[:count], strides=STRIDES[:count], anchors=ANCHORS[:count])
        for count in (3, 1)
    )
    assert three.obj_level_weights == (4.0, 1.0, 0.4) and one.obj_level_weights == (4.0,)
    assert build('YOLOv5Head', obj_level_weights=(1, 2, 3)).obj_level_weights == (1, 2, 3)
    feats, gt = features(), make_gt([5, 2], SIZE)
    single = one.loss(one(feats[:1]), gt)
    triple = one._gains(SIZE)
    one._gains = three._gains
    for name, value in one.loss(one(feats[:1]), gt).items():
        assert single[name].item() == pytest.approx(3 * value.item())
    assert triple.box == 3 and three._gains(SIZE).box == 1


@pytest.mark.parametrize('size', [(64, 64), (96, 32), (32, 160)])
@pytest.mark.parametrize('training', [True, False])
def test_shapes_of_raw_predictions(size, training):
    preds = build('YOLOv5Head').train(training)(features(2, *size))
    assert list(preds) == ['anchor_preds']
    expected = [(2, 30, size[0] // stride, size[1] // stride) for stride in STRIDES]
    assert [tuple(level.shape) for level in preds['anchor_preds']] == expected


@pytest.mark.parametrize('multi_label', [True, False])
@pytest.mark.parametrize('kind', KINDS)
def test_predictions_are_decoded_cell_by_cell(kind, multi_label):
    """Without suppression every place and class above the threshold comes back."""
    options = dict(score_thr=0.02, iou_thr=1.0, max_per_img=10000, multi_label=multi_label)
    head = build(kind, test_cfg=options).double().eval()
    preds = head([3 * feat.double() for feat in features()])
    expected = []
    for level, shapes, stride in zip(preds['anchor_preds'], ANCHORS, STRIDES, strict=True):
        table = level.detach().unflatten(1, (3, 10)).permute(0, 1, 3, 4, 2)
        for image, a, y, x in np.ndindex(*table.shape[:4]):
            row = table[image, a, y, x]
            tx, ty, tw, th, objectness, *classes = row.sigmoid().tolist()
            if kind == 'YOLOv3Head':
                cx, cy, w, h = tx + x, ty + y, exp(row[2]), exp(row[3])
            else:
                cx, cy, w, h = 2 * tx - 0.5 + x, 2 * ty - 0.5 + y, 4 * tw**2, 4 * th**2
            cx, cy, w, h = cx * stride, cy * stride, w * shapes[a][0], h * shapes[a][1]
            bbox = np.clip(2 * np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]), 0, 2 * SIZE)
            for label, score in enumerate(classes):
                if score * objectness > 0.02 and (multi_label or score == max(classes)):
                    expected.append((image, score * objectness, label, *bbox))
    assert len(expected) > 20
    found = [
        (image, score, label, *bbox)
        for image, result in enumerate(head.predict(preds, metas()))
        for score, label, bbox in zip(
            *(getattr(result.pred_instances, key).tolist() for key in ('scores', 'labels', 'bboxes')), strict=True
        )
    ]
    np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-9)


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_found(kind):
    head = build(kind, test_cfg=dict(score_thr=0.999)).eval()
    for result in head.predict(head(features()), metas()):
        assert len(result.pred_instances) == 0 and result.pred_instances.bboxes.shape == (0, 4)


def test_without_options_the_defaults_of_suppression_hold():
    plain, spelled = (build('YOLOv5Head', test_cfg=test_cfg).eval() for test_cfg in (None, dict(score_thr=0.001)))
    feats = [4 * feat for feat in features()]
    for a, b in zip(plain.predict(plain(feats), metas()), spelled.predict(spelled(feats), metas()), strict=True):
        assert len(a.pred_instances) and torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)


def test_knobs_may_be_turned_between_calls():
    head = build('YOLOv3Head', test_cfg=dict(score_thr=0.0)).eval()
    preds = head(features(1))
    full = head.predict(preds, metas(1))[0].pred_instances
    head.test_cfg.update(classes=[2], max_per_img=5, retina_masks=True)
    few = head.predict(preds, metas(1))[0].pred_instances
    assert len(few) == 5 and (few.labels == 2).all()
    assert torch.equal(few.scores, full.scores[full.labels == 2][:5])


def test_initial_scores_are_rare():
    torch.manual_seed(0)
    for num_classes, rarity in ((5, log(0.6 / 4)), (1, log(0.6 / 1e-5))):
        head = build('YOLOv5Head', num_classes=num_classes, in_channels=(4096,) * 3)  # the wider the less noise
        for stride, conv in zip(STRIDES, head.convs, strict=True):
            biases = conv.bias.detach().view(3, -1)
            assert biases[:, 4].tolist() == pytest.approx([log(8 / (640 / stride) ** 2)] * 3, abs=0.02)
            assert biases[:, 5:].flatten().tolist() == pytest.approx([rarity] * 3 * num_classes, abs=0.02)
            assert biases[:, :4].abs().max() < 0.02


@pytest.mark.parametrize('count', [2, 3, 4])
def test_default_anchors_by_number_of_levels(count):
    head = build('YOLOv5Head', in_channels=(8,) * count, strides=(8, 16, 32, 64)[:count])
    assert len(head.prior_generator.anchors) == len(head.convs) == count
    assert head.prior_generator.anchors[0][0] == {2: (10, 14), 3: (10, 13), 4: (19, 27)}[count]


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(in_channels=(8,), strides=(8,)), 'no default anchors for 1 levels'),
        (dict(anchors=ANCHORS[:2]), 'anchors has 2 levels, but there are 3'),
        (dict(anchors=[[(10, 13)], [(3, 4), (5, 6)], [(1, 2)]]), '1, 2, 1 shapes'),
        (dict(anchors=[[], [], []]), '0, 0, 0 shapes'),
        (dict(anchors=[[(10, 13)], [(3, 4)], [10, 13]]), 'shape 10'),
        (dict(anchors=[[(10, 13)], [(3, 4)], [(10, 0)]]), r'shape \(10, 0\)'),
        (
            dict(loss_bbox=dict(type='ProbIoULoss')),
            'loss_bbox must follow OverlapLoss .* but ProbIoULoss follows RotatedBoxLoss; .*IoULoss',
        ),
        (dict(obj_level_weights=(1.0, 2.0)), '2 obj_level_weights for 3 levels'),
        (dict(obj_iou_ratio=1.5), 'obj_iou_ratio'),
        (dict(nominal_batch_size=0), 'nominal_batch_size'),
        (dict(img_size=-1), 'img_size'),
        (dict(test_cfg=dict(score_th=0.5)), "test_cfg has no 'score_th'.*Did you mean 'score_thr'"),
    ],
)
def test_mistakes_are_named(changed, message):
    with pytest.raises(ConfigError, match=message):
        build('YOLOv5Head', **changed)


def test_a_head_alone_needs_its_incoming_channels():
    with pytest.raises(ConfigError, match='YOLOv5Head needs in_channels and strides'):
        HEADS.build(dict(type='YOLOv5Head', num_classes=5))
