"""Faster, Mask and Keypoint R-CNN against torchvision's: proposals, losses, gradients and detections in float64."""

from functools import partial

import pytest
import torch
from builders import build_model
from coverings import slow_unless
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision_pairs import (
    IMG_SHAPES,
    NUM_CLASSES,
    SIZE,
    WIDTH,
    close,
    compare_gradients,
    frozen,
    ground_truth,
    images,
    ours,
    samples,
    small,
    targets,
    theirs,
)

from detkit.models.assigners import prior_samplers
from detkit.models.layers import keyed_dropout

# torchvision's sampling and proposals, and the same here.
LIMITS = dict(
    rpn_batch_size_per_image=64,
    box_batch_size_per_image=48,
    rpn_post_nms_top_n_train=60,
    rpn_post_nms_top_n_test=40,
    rpn_pre_nms_top_n_train=200,
    rpn_pre_nms_top_n_test=150,
)
OURS = dict(
    rpn_head__prior_sampler__num=64,
    bbox_head__prior_sampler__num=48,
    rpn_head__proposals__nms_pre=(200, 150),
    rpn_head__proposals__max_per_img=(60, 40),
)
NARROW = dict(fc_channels=WIDTH)
# Base config, torchvision's detector, the number of classes, its table of names, and variables of the base.
CASES = {
    'faster': ('faster_rcnn', partial(small, 'faster_rcnn'), NUM_CLASSES, 'rcnn', dict(size='r18', **NARROW)),
    'mask': ('mask_rcnn', partial(small, 'mask_rcnn'), NUM_CLASSES, 'rcnn', dict(size='r18', **NARROW)),
    'mask_v2': (
        'mask_rcnn',
        partial(small, 'mask_rcnn', second=True),
        NUM_CLASSES,
        'rcnn_v2',
        dict(size='r18_v2', **NARROW),
    ),
    'keypoint': ('keypoint_rcnn', partial(small, 'keypoint_rcnn'), 1, 'rcnn', dict(size='r18', **NARROW)),
    'faster_r50': ('faster_rcnn', partial(theirs, detection.fasterrcnn_resnet50_fpn), NUM_CLASSES, 'rcnn', {}),
    'faster_r50_v2': (
        'faster_rcnn',
        partial(theirs, detection.fasterrcnn_resnet50_fpn_v2),
        NUM_CLASSES,
        'rcnn_v2',
        dict(size='r50_v2'),
    ),
    'faster_mobilenet': (
        'faster_rcnn',
        partial(theirs, detection.fasterrcnn_mobilenet_v3_large_fpn),
        NUM_CLASSES,
        'rcnn',
        dict(size='mobilenet'),
    ),
    'mask_r50': ('mask_rcnn', partial(theirs, detection.maskrcnn_resnet50_fpn), NUM_CLASSES, 'rcnn', {}),
    'keypoint_r50': ('keypoint_rcnn', partial(theirs, detection.keypointrcnn_resnet50_fpn), 1, 'rcnn', {}),
}
DEFAULT = ('mask', 'mask_v2', 'keypoint', 'faster_mobilenet')
LOSS_NAMES = {
    'loss_objectness': 'loss_rpn_cls',
    'loss_rpn_box_reg': 'loss_rpn_box',
    'loss_classifier': 'loss_cls',
    'loss_box_reg': 'loss_box',
    'loss_mask': 'loss_mask',
    'loss_keypoint': 'loss_pose',
}


@pytest.fixture(
    scope='module',
    params=[slow_unless(name in DEFAULT, name) for name in CASES],
)
def pair(request):
    base, build, num_classes, family, variables = CASES[request.param]
    reference = build(num_classes=num_classes + 1, **LIMITS)
    for layer in (reference.roi_heads.box_predictor.cls_score, reference.rpn.head.cls_logits):
        layer.weight.data.mul_(3)  # scores far apart, above the thresholds
    reference.roi_heads.box_predictor.cls_score.bias.data[0] -= 2  # of background
    options = dict(OURS, **variables)
    if 'v2' not in family:
        reference = frozen(reference)
        options['frozen_stages'] = -1
    if 'fc_channels' in variables and base == 'keypoint_rcnn':
        options['keypoint_channels'] = WIDTH
    elif 'fc_channels' in variables and (base == 'mask_rcnn' or 'v2' in family):
        options['roi_channels'] = WIDTH
    model = ours(base, family, reference, num_classes, **options)
    # Normalisation that is not frozen keeps its statistics, so that a test does not change them for the next one.
    for network in (reference, model):
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    return reference, model, family


@pytest.fixture
def first_ones(monkeypatch):
    """Let both samplers take the first of all priors that they may take."""
    monkeypatch.setattr(torch, 'randperm', lambda count, device=None: torch.arange(count, device=device))
    monkeypatch.setattr(
        prior_samplers, 'keyed_uniform', lambda shape, like: 1 - torch.arange(shape[1]).expand(shape) / shape[1]
    )


def batch(model, with_objects):
    """Ground truth with what the model learns, for both sides."""
    gt = ground_truth(with_objects)
    given = targets(gt, first_label=1)
    if model.head.mask_head is not None:
        gt.masks = torch.zeros(2, gt.max_instances, *SIZE, dtype=torch.bool)
        for index, bbox in enumerate(gt.bboxes[0].long().tolist()):
            gt.masks[0, index, bbox[1] : bbox[3] - 4, bbox[0] + 3 : bbox[2]] = True
        for image, target in enumerate(given):
            target['masks'] = gt.masks[image, : len(target['labels'])].to(torch.uint8)
    if model.head.keypoint_head is not None:
        gt.labels.clamp_(max=0)
        generator = torch.Generator().manual_seed(2)
        places = torch.rand(2, gt.max_instances, 17, 2, generator=generator, dtype=torch.float64) * 1.1
        positions = gt.bboxes[:, :, None, :2] + places * (gt.bboxes[..., 2:] - gt.bboxes[..., :2])[:, :, None]
        visible = torch.randint(0, 3, (2, gt.max_instances, 17, 1), generator=generator)
        gt.keypoints = torch.cat([positions, visible.double()], -1)
        for image, target in enumerate(given):
            target['labels'] = target['labels'].clamp(max=1)
            target['keypoints'] = gt.keypoints[image, : len(target['labels'])].float()  # as torchvision wants them
        gt.keypoints = gt.keypoints.float().double()
    return gt, given


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('pair', 'with_objects'),
    [
        slow_unless(name in (DEFAULT if with_objects else ('mask', 'keypoint')), name, with_objects)
        for name in CASES
        for with_objects in (True, False)
    ],
    indirect=['pair'],
)
def test_proposals_losses_and_gradients(pair, first_ones, with_objects):
    reference, model, family = pair
    inputs = images()
    gt, given = batch(model, with_objects)
    feats = reference.backbone(inputs)
    image_list = ImageList(inputs, list(IMG_SHAPES))
    proposals, expected = reference.rpn(image_list, feats, given)
    wanted_proposals = [own.clone() for own in proposals]
    _, more = reference.roi_heads(feats, proposals, list(IMG_SHAPES), given)
    expected |= more

    preds = model(inputs)
    first = {name: preds[name] for name in ('cls_logits', 'bbox_preds')}
    for own, wanted in zip(model.head.rpn_head.proposals(first, gt.img_shapes), wanted_proposals, strict=True):
        assert len(wanted) == 60
        close(own, wanted)
    losses = model(inputs, gt, mode='loss')
    assert {LOSS_NAMES[name] for name in expected} == set(losses)
    for name, value in expected.items():
        close(losses[LOSS_NAMES[name]], value, what=name)
        assert not with_objects or float(value.detach()) > 0
    reference.zero_grad()
    model.zero_grad()
    sum(expected.values()).backward()
    sum(losses.values()).backward()
    compare_gradients(model, reference, family)


@pytest.mark.default_cases(2)
def test_detections(pair):
    reference, model, family = pair
    inputs = images()
    reference.eval(), model.eval()
    with torch.no_grad():
        feats = reference.backbone(inputs)
        proposals, _ = reference.rpn(ImageList(inputs, list(IMG_SHAPES)), feats)
        expected, _ = reference.roi_heads(feats, proposals, list(IMG_SHAPES))
        found = model(inputs, data_samples=samples(), mode='predict')
    for sample, wanted, shape in zip(found, expected, IMG_SHAPES, strict=True):
        result = sample.pred_instances
        assert len(wanted['boxes']) > 5
        assert torch.equal(result.labels + 1, wanted['labels'])
        close(result.scores, wanted['scores'])
        close(result.bboxes, wanted['boxes'])
        if 'masks' in wanted:
            pasted = paste_masks_in_image(wanted['masks'], wanted['boxes'], shape)[:, 0] > 0.5
            assert pasted.any() and torch.equal(torch.from_numpy(result.masks.to_bool()), pasted)
        if 'keypoints' in wanted:  # which torchvision computes in float32
            close(result.keypoints, wanted['keypoints'][..., :2].clamp(min=0).minimum(torch.tensor(shape[::-1])), 1e-5)
            close(result.keypoint_scores, wanted['keypoints_scores'].sigmoid(), 1e-5)
    reference.train(), model.train()
    for network in (reference, model):
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


@pytest.mark.parametrize(
    ('base', 'size', 'num_classes', 'count'),
    [
        ('faster_rcnn', 'r50', 90, 41_755_286),
        ('faster_rcnn', 'r50_v2', 90, 43_712_278),
        ('faster_rcnn', 'mobilenet', 90, 19_386_354),
        ('mask_rcnn', 'r50', 90, 44_401_393),
        ('mask_rcnn', 'r50_v2', 90, 46_359_409),
        ('keypoint_rcnn', 'r50', 1, 59_137_258),
    ],
)
def test_parameter_counts(base, size, num_classes, count):
    """Torchvision states them with background as a class, and for frozen normalisation where the recipe freezes it."""
    model = build_model(base, num_classes, device='meta', pretrained=None, size=size)
    assert sum(param.numel() for param in model.parameters()) == count


def test_a_sampler_takes_objects_first_and_fills_up_with_background():
    sampler = prior_samplers.RandomPriorSampler(num=8, pos_fraction=0.25)
    gt_idx = torch.tensor([[0, 1, 0, -2, *[-1] * 12], [-1] * 3 + [-2] * 13])
    with keyed_dropout.keyed_dropout(0, 0):
        sampled = sampler(gt_idx)
    chosen = [gt_idx[image, sampled.prior_idx[image][sampled.valid[image]]] for image in range(2)]
    assert (chosen[0] >= 0).sum() == 2 and (chosen[0] == -1).sum() == 6
    assert chosen[1].tolist() == [-1, -1, -1]
    assert torch.equal(sampled.positive & sampled.valid, (gt_idx.gather(1, sampled.prior_idx) >= 0) & sampled.valid)
    with keyed_dropout.keyed_dropout(0, 0, first=1):
        alone = sampler(gt_idx[1:])
    assert torch.equal(alone.prior_idx[0], sampled.prior_idx[1])  # whatever else is in the batch
