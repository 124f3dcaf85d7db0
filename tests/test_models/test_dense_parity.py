"""RetinaNet and FCOS against torchvision's: outputs, losses, gradients and detections in float64."""

from functools import partial

import pytest
import torch
from builders import build_model
from coverings import slow_unless
from torchvision.models import detection
from torchvision.models.detection.image_list import ImageList
from torchvision_pairs import (
    IMG_SHAPES,
    NUM_CLASSES,
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

# Family, torchvision's detector, and the size here.
CASES = {
    'retinanet': ('retinanet', partial(small, 'retinanet'), 'r18'),
    'retinanet_v2': ('retinanet', partial(small, 'retinanet', second=True), 'r18_v2'),
    'fcos': ('fcos', partial(small, 'fcos'), 'r18'),
    'retinanet_r50': ('retinanet', partial(theirs, detection.retinanet_resnet50_fpn), 'r50'),
    'retinanet_r50_v2': ('retinanet', partial(theirs, detection.retinanet_resnet50_fpn_v2), 'r50_v2'),
    'fcos_r50': ('fcos', partial(theirs, detection.fcos_resnet50_fpn), 'r50'),
}
LOSS_NAMES = {'classification': 'loss_cls', 'bbox_regression': 'loss_box', 'bbox_ctrness': 'loss_centerness'}


@pytest.fixture(
    scope='module',
    params=[pytest.param(name, marks=[pytest.mark.slow] if 'r50' in name else []) for name in CASES],
)
def pair(request):
    family, build, size = CASES[request.param]
    reference = build(num_classes=NUM_CLASSES)
    if 'v2' not in size:
        reference = frozen(reference)
    variables = dict(frozen_stages=-1, size=size) if 'v2' not in size else dict(size=size)
    return reference.eval(), ours(family, family, reference, NUM_CLASSES, **variables).eval()


def raw(reference, inputs):
    """What torchvision's head and anchors give for normalised images."""
    feats = list(reference.backbone(inputs).values())
    anchors = reference.anchor_generator(ImageList(inputs, list(IMG_SHAPES)), feats)
    return reference.head(feats), anchors, [feat.shape[-2] * feat.shape[-1] for feat in feats]


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('pair', 'with_objects'),
    [
        slow_unless('r50' not in name and (with_objects or 'v2' not in name), name, with_objects)
        for name in CASES
        for with_objects in (True, False)
    ],
    indirect=['pair'],
)
def test_outputs_losses_and_gradients(pair, with_objects):
    reference, model = pair
    inputs, gt = images(), ground_truth(with_objects)
    outputs, anchors, counts = raw(reference, inputs)
    preds = model(inputs)
    for name, key in (('cls_logits', 'cls_logits'), ('bbox_regression', 'bbox_preds'), ('bbox_ctrness', 'centerness')):
        if name in outputs:
            rows = model.head._all_rows(preds)[key]
            close(torch.cat(rows, 1), outputs[name])

    given = (targets(gt), outputs, anchors)
    expected = (
        reference.compute_loss(*given, counts)
        if hasattr(model.head, 'conv_centerness')
        else reference.compute_loss(*given)
    )
    losses = model(inputs, gt, mode='loss')
    assert {LOSS_NAMES[name] for name in expected} == set(losses)
    for name, value in expected.items():
        close(losses[LOSS_NAMES[name]], value)
    reference.zero_grad()
    model.zero_grad()
    sum(expected.values()).backward()
    sum(losses.values()).backward()
    compare_gradients(model, reference, 'fcos' if hasattr(model.head, 'conv_centerness') else 'retinanet')


@pytest.mark.default_cases(2)
def test_detections(pair):
    reference, model = pair
    inputs = images()
    with torch.no_grad():
        outputs, anchors, counts = raw(reference, inputs)
        per_location = outputs['cls_logits'].shape[1] // sum(counts)
        counts = [count * per_location for count in counts]
        split = {name: list(value.split(counts, 1)) for name, value in outputs.items()}
        expected = reference.postprocess_detections(split, [list(a.split(counts)) for a in anchors], list(IMG_SHAPES))
        found = model(inputs, data_samples=samples(), mode='predict')
        decoded = model.head.results(
            model.head.decode(model(inputs), torch.tensor(IMG_SHAPES)), [s.metainfo for s in samples()]
        )
    for sample, again, wanted in zip(found, decoded, expected, strict=True):
        assert len(wanted['boxes']) > 20
        for result in (sample.pred_instances, again.pred_instances):
            assert torch.equal(result.labels, wanted['labels'])
            close(result.scores, wanted['scores'])
            close(result.bboxes, wanted['boxes'])


@pytest.mark.parametrize(
    ('base', 'count', 'variables'),
    [
        ('retinanet', 34_014_999, {}),
        ('retinanet', 38_198_935, dict(size='r50_v2')),
        ('fcos', 32_269_600, {}),
    ],
)
def test_parameter_counts(base, count, variables):
    """Torchvision states them for frozen normalisation, whose weights are no parameters, where it is frozen."""
    model = build_model(base, 91, device='meta', pretrained=None, **variables)
    assert sum(param.numel() for param in model.parameters()) == count
