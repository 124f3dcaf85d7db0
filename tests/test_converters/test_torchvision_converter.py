"""Conversion of torchvision's detectors: predictions, names of all releases, classes, what is refused, and back."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import converted, error_of
from disks import full_disk
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.models import detection
from torchvision_pairs import WIDTH, close, frozen, small

from detkit.config import load_config
from detkit.converters import torchvision as torchvision_converter
from detkit.converters.any_file import load_foreign
from detkit.converters.torchvision import convert_torchvision, load_torchvision
from detkit.converters.torchvision_model import current_names
from detkit.datasets.class_names import COCO80, COCO91
from detkit.engine.finetune import load_weights
from detkit.inference import Predictor
from detkit.inference.model import init_detector
from detkit.registry import DETECTORS
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import CheckpointError
from detkit.utils.without_memory import without_memory

SIZE = (96, 160)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NARROW = dict(
    faster_rcnn=('fc_channels',),
    mask_rcnn=('fc_channels', 'roi_channels'),
    keypoint_rcnn=('fc_channels', 'keypoint_channels'),
)
CASES = {
    'faster_rcnn': dict(),
    'mask_rcnn': dict(second=True),
    'keypoint_rcnn': dict(),
    'retinanet': dict(),
    'retinanet_v2': dict(second=True),
    'fcos': dict(),
}
TASKS = dict(mask_rcnn='seg', keypoint_rcnn='pose')


def network(case: str, num_labels: int) -> nn.Module:
    """Return a detector of torchvision on ResNet-18 with random weights, in float32, that detects something."""
    kind = case.removesuffix('_v2')
    two_stage = kind.endswith('_rcnn')
    sizes = dict(min_size=SIZE[0], max_size=SIZE[1], num_classes=num_labels + two_stage)
    model = small(kind, **sizes, **CASES[case]).float().eval()
    if two_stage:
        for layer in (model.roi_heads.box_predictor.cls_score, model.rpn.head.cls_logits):
            layer.weight.data.mul_(3)
    return model


def small_config(case: str, folder: Path) -> Path:
    """Write the config of that detector."""
    kind = case.removesuffix('_v2')
    second = CASES[case].get('second', False)
    lines = [f"_base_ = 'detkit::{kind}/{TASKS.get(kind, 'det')}_coco'", f"size = 'r18{'_v2' if second else ''}'"]
    lines += [f'{name} = {WIDTH}' for name in NARROW.get(kind, ())]
    path = folder / f'{case}_small.py'
    path.write_text('\n'.join([*lines, "backbone_norm = 'bn'", 'pretrained = None', f'img_size = {SIZE[0]}', '']))
    return path


def picture(width: int = SIZE[1]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE[0], width, 3), np.uint8)


def predicted(checkpoint: Path, img: np.ndarray, iou_thr: float = 0.5) -> InstanceData:
    """Predict the whole way, from a picture, in single precision."""
    predictor = Predictor(None, checkpoint, device='cpu', score_thr=0.05, iou_thr=iou_thr, max_per_img=100)
    return predictor.predict([img])[0].pred_instances


class Converted(NamedTuple):
    """A detector of torchvision, and the file that its file became."""

    case: str
    reference: nn.Module
    path: Path
    checkpoint: dict
    report: str


@pytest.fixture(scope='module', params=CASES)
def of_torchvision(request, tmp_path_factory) -> Converted:
    case, folder = request.param, tmp_path_factory.mktemp('converted')
    labels = 1 if case == 'keypoint_rcnn' else 4
    reference = network(case, labels)
    torch.save(dict(model=reference.state_dict(), optimizer={}, epoch=3), folder / 'model.pth')
    (folder / 'names.txt').write_text('\n'.join(f'thing {i}' for i in range(labels)))
    arguments = dict(config=small_config(case, folder), names=folder / 'names.txt')
    path = folder / 'out.pth'
    return Converted(case, reference, path, *converted(convert_torchvision, folder / 'model.pth', path, **arguments))


@pytest.mark.default_cases(1)
def test_a_converted_file_predicts_what_torchvision_does(of_torchvision):
    case, reference, path, checkpoint, report = of_torchvision
    assert checkpoint['meta']['classes'][0] == 'thing 0' and 'norm     trained in the backbone' in report

    model = init_detector(None, path, device='cpu', fuse=False).double()
    image = torch.from_numpy(picture()).permute(2, 0, 1).double()  # (H, W, 3) -> (3, H, W)
    sample = DetDataSample(metainfo=dict(img_shape=SIZE, ori_shape=SIZE, matrix=np.eye(3)))
    with torch.no_grad():
        wanted = copy.deepcopy(reference).double()([image / 255])[0]
        inputs = (image / 255 - torch.tensor(MEAN, dtype=torch.float64).view(3, 1, 1)) / torch.tensor(
            STD, dtype=torch.float64
        ).view(3, 1, 1)
        found = model(inputs.unsqueeze(0), data_samples=[sample], mode='predict')[0].pred_instances
    assert len(found) == len(wanted['scores']) > 5
    close(found.scores, wanted['scores'])
    close(found.bboxes, wanted['boxes'])
    assert found.labels.tolist() == (wanted['labels'] - int(case.endswith('_rcnn'))).tolist()
    if case == 'keypoint_rcnn':
        close(found.keypoints, wanted['keypoints'][..., :2])
        assert checkpoint['meta']['keypoints']['keypoint_names'][0] == 'nose'
    if case == 'mask_rcnn':
        result = predicted(path, picture())
        torch.testing.assert_close(result.bboxes[:5], wanted['boxes'][:5].float(), rtol=1e-3, atol=0.05)
        torch.testing.assert_close(result.scores[:5], wanted['scores'][:5].float(), rtol=1e-3, atol=1e-3)


@pytest.mark.default_cases(1)
def test_a_picture_whose_sides_are_no_multiples_of_32_is_padded_as_by_torchvision(of_torchvision):
    img = picture(140)  # 96 x 140, of which no side is resized
    with torch.no_grad():
        wanted = of_torchvision.reference([torch.from_numpy(img).permute(2, 0, 1) / 255])[0]
    found = predicted(of_torchvision.path, img, 0.6 if of_torchvision.case == 'fcos' else 0.5)
    wanted = {name: value[:100] for name, value in wanted.items()}
    assert len(found) == len(wanted['scores']) > 5
    torch.testing.assert_close(found.scores, wanted['scores'], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.bboxes[:5], wanted['boxes'][:5], rtol=1e-3, atol=0.05)


BUILDERS = {
    'fasterrcnn_resnet50_fpn': ('faster_rcnn', 'r50'),
    'fasterrcnn_resnet50_fpn_v2': ('faster_rcnn', 'r50_v2'),
    'fasterrcnn_mobilenet_v3_large_fpn': ('faster_rcnn', 'mobilenet'),
    'fasterrcnn_mobilenet_v3_large_320_fpn': ('faster_rcnn', 'mobilenet_320'),
    'maskrcnn_resnet50_fpn': ('mask_rcnn', 'r50'),
    'maskrcnn_resnet50_fpn_v2': ('mask_rcnn', 'r50_v2'),
    'keypointrcnn_resnet50_fpn': ('keypoint_rcnn', 'r50'),
    'retinanet_resnet50_fpn': ('retinanet', 'r50'),
    'retinanet_resnet50_fpn_v2': ('retinanet', 'r50_v2'),
    'fcos_resnet50_fpn': ('fcos', 'r50'),
}
# The first digits of the published files' SHA-256, which are in their names.
DIGESTS = {
    name: re.search(r'-([0-9a-f]{8})\.pth$', detection.__dict__[weights].COCO_V1.url)[1]
    for name, weights in (
        ('fasterrcnn_resnet50_fpn', 'FasterRCNN_ResNet50_FPN_Weights'),
        ('fasterrcnn_mobilenet_v3_large_320_fpn', 'FasterRCNN_MobileNet_V3_Large_320_FPN_Weights'),
        ('maskrcnn_resnet50_fpn', 'MaskRCNN_ResNet50_FPN_Weights'),
        ('keypointrcnn_resnet50_fpn', 'KeypointRCNN_ResNet50_FPN_Weights'),
        ('retinanet_resnet50_fpn', 'RetinaNet_ResNet50_FPN_Weights'),
        ('fcos_resnet50_fpn', 'FCOS_ResNet50_FPN_Weights'),
    )
}


def loaded(state: dict[str, Tensor], monkeypatch, digest: str = '00000000', **arguments):
    """Convert tensors, of which only the shapes count."""
    monkeypatch.setattr(torchvision_converter, 'read_state', lambda path: ({}, state))
    monkeypatch.setattr(torchvision_converter, 'file_sha256', lambda path: digest)
    monkeypatch.setattr(torchvision_converter, 'stored_state', lambda tensors, *_: tensors)  # which has no values
    return load_torchvision('model.pth', CONFIGS, **arguments)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('builder', BUILDERS)
def test_every_builder_is_recognised(builder, monkeypatch):
    with without_memory():
        model = getattr(detection, builder)(weights=None, weights_backbone=None)
    state = model.state_dict()
    family, size = BUILDERS[builder]
    norm_is_trained = not (size.endswith('v2') or size.startswith('never'))
    plain = loaded(state, monkeypatch)
    assert plain.config_file.startswith(f'configs/{family}/') and plain.config['size'] == size.removesuffix('_320')
    assert plain.config['backbone_norm'] == 'bn'
    assert plain.config['classes'] == (('person',) if family == 'keypoint_rcnn' else COCO80)
    if not norm_is_trained:
        return
    # As published: the normalisation frozen, and told by the digest what weights do not show.
    state = {name: tensor for name, tensor in state.items() if 'num_batches' not in name}
    published = loaded(state, monkeypatch, DIGESTS.get(builder, '00000000'))
    with without_memory():
        model = DETECTORS.build(dict(published.config['model'], backbone=dict(published.config['model']['backbone'])))
    eps = {module.eps for module in model.backbone.modules() if hasattr(module, 'running_var')}
    assert eps == {0.0 if 'rcnn_resnet50' in builder or 'retinanet' in builder else 1e-5}
    assert published.config['size'] == size and published.config['backbone_norm'] == 'frozen'
    if size == 'mobilenet_320':
        config = published.config
        assert (config['img_size'], config['max_size'], config['num_proposals']) == (320, 640, (2000, 150))
    assert f'size={size}' in '\n'.join(published.advice(Path('x.pth'))) or size == 'r50'


def old_names(state: dict[str, Tensor], retinanet: bool) -> dict[str, Tensor]:
    """Return a state dict by the names that torchvision had before its release 0.15, as published files have them."""

    def rename(name: str) -> str:
        name = re.sub(r'((?:inner|layer)_blocks\.\d)\.0', r'\1', name)
        name = re.sub(r'rpn\.head\.conv\.0\.0', 'rpn.head.conv', name)
        name = re.sub(r'mask_head\.(\d)\.0', lambda match: f'mask_head.mask_fcn{int(match[1]) + 1}', name)
        if retinanet:
            name = re.sub(r'(_head\.conv)\.(\d)\.0', lambda match: f'{match[1]}.{2 * int(match[2])}', name)
        return name

    return {rename(name): tensor for name, tensor in state.items() if 'num_batches' not in name}


@pytest.mark.parametrize('builder', [name for name in BUILDERS if name.endswith('resnet50_fpn')])
def test_names_of_earlier_releases(builder):
    with without_memory():
        model = getattr(detection, builder)(weights=None, weights_backbone=None)
    state = {name: tensor for name, tensor in model.state_dict().items() if 'num_batches' not in name}
    earlier = old_names(state, builder.startswith('retinanet'))
    assert earlier.keys() != state.keys()
    assert list(current_names(earlier)) == list(state) == list(current_names(state))
    with without_memory():
        frozen(model).load_state_dict(earlier, strict=True)  # torchvision takes them for its own


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('case', ['mask_rcnn', 'retinanet'])
def test_of_coco_s_category_ids_80_classes_are_kept(case, tmp_path):
    two_stage = case == 'mask_rcnn'
    every = COCO91[two_stage:]
    reference = network(case, len(every))
    torch.save(reference.state_dict(), tmp_path / 'model.pth')
    config = small_config(case, tmp_path)
    few, report = converted(convert_torchvision, tmp_path / 'model.pth', tmp_path / 'few.pth', config=config)
    assert few['meta']['classes'] == list(COCO80) and f"COCO's 80 of {len(every)} category ids" in report
    everything = converted(
        convert_torchvision, tmp_path / 'model.pth', tmp_path / 'every.pth', config=config, classes='91'
    )[0]
    assert everything['meta']['classes'] == list(every)
    first, second = few['state_dict'], everything['state_dict']
    label, original = COCO80.index('dog'), every.index('dog')
    for name in first:
        if name.startswith('head.conv_cls'):  # nine anchors a cell
            rows = [tensor.view(9, -1, *tensor.shape[1:]) for tensor in (first[name], second[name])]
            assert torch.equal(rows[0][:, label], rows[1][:, original])
        elif name.startswith(('head.bbox_head.fc_cls', 'head.mask_head.conv_mask')):
            assert torch.equal(first[name][1 + label], second[name][1 + original])
            assert torch.equal(first[name][0], second[name][0])
        elif name.startswith('head.bbox_head.fc_bbox'):
            assert torch.equal(first[name][4 + 4 * label :][:4], second[name][4 + 4 * original :][:4])
        else:
            assert torch.equal(first[name], second[name])
    # Fine-tuning on other classes keeps the rows of those that both have.
    cfg = load_config(config, need_classes=False).model
    other = DETECTORS.build(dict(cfg, head=dict(cfg.head, num_classes=2)))
    copied = load_weights(other, few, ('dog', 'bolt')).copied_classes
    assert copied == ['dog']


def test_labels_that_begin_at_1(tmp_path):
    """A dense detector of torchvision that counts background, as the two-stage ones do."""
    torch.save(network('fcos', 3).state_dict(), tmp_path / 'model.pth')
    (tmp_path / 'names.txt').write_text('bolt\nnut\n')
    checkpoint, report = converted(
        convert_torchvision,
        tmp_path / 'model.pth',
        tmp_path / 'out.pth',
        config=small_config('fcos', tmp_path),
        names=tmp_path / 'names.txt',
    )
    state = torch.load(tmp_path / 'model.pth', weights_only=True)
    rows = state['head.classification_head.cls_logits.bias'][1:]
    assert torch.equal(checkpoint['state_dict']['head.conv_cls.bias'], rows) and 'labels from 1 on' in report


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('case', ['mask_rcnn', 'keypoint_rcnn', 'retinanet', 'fcos'])
def test_back_to_torchvision(case, tmp_path):
    reference = network(case, 1 if case == 'keypoint_rcnn' else 4)
    kind = case.removesuffix('_v2')
    (tmp_path / 'names.txt').write_text('\n'.join('abcd'[: 1 if case == 'keypoint_rcnn' else 4]))
    torch.save(reference.state_dict(), tmp_path / 'model.pth')
    arguments = dict(config=small_config(case, tmp_path), names=tmp_path / 'names.txt')
    converted(convert_torchvision, tmp_path / 'model.pth', tmp_path / 'own.pth', **arguments)
    lines = convert_torchvision(tmp_path / 'own.pth', tmp_path / 'back.pth', CONFIGS)
    back = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert back.keys() == reference.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in reference.state_dict().items())
    assert f'num_classes={2 if case == "keypoint_rcnn" else 4 + kind.endswith("_rcnn")}' in '\n'.join(lines)
    with full_disk(1000), pytest.raises(OSError, match='File too large') as caught:
        convert_torchvision(tmp_path / 'own.pth', tmp_path / 'full.pth', CONFIGS)
    assert caught.value.filename == str(tmp_path / 'full.pth') and not (tmp_path / 'full.pth').exists()


def test_a_checkpoint_of_another_model_is_not_written(tmp_path):
    config = load_config(CONFIGS / 'yolov8' / 'det_coco.py', dict(size='n'), need_classes=False)
    state = DETECTORS.build(config.model).state_dict()
    converted_file = tmp_path / 'own.pth'
    torch.save(dict(meta=dict(classes=[]), state_dict=state), converted_file)
    with pytest.raises(CheckpointError):
        convert_torchvision(converted_file, tmp_path / 'back.pth', CONFIGS)
    assert not (tmp_path / 'back.pth').exists()


def test_what_does_not_fit_is_refused(tmp_path):
    source = tmp_path / 'model.pth'
    state = network('fcos', 80).state_dict()

    def refused(tensors: dict[str, Tensor], **arguments) -> str:
        torch.save(tensors, source)
        text = error_of(convert_torchvision, source, **arguments)
        assert 'model.pth' in text
        return text

    config = small_config('fcos', tmp_path)
    without = {name: tensor for name, tensor in state.items() if 'bbox_reg' not in name}
    text = refused(without, config=config)
    assert 'does not fit the FCOS r18' in text and '2 missing:\n  head.regression_head.bbox_reg.weight' in text
    assert '1 unknown:\n  more' in refused({**state, 'more': torch.zeros(1)}, config=config)
    assert 'is no detector of torchvision that detkit has' in refused({'backbone.0.weight': torch.zeros(1)})
    assert 'lacks head.classification_head.cls_logits.bias' in refused(
        {name: tensor for name, tensor in state.items() if 'cls_logits.bias' not in name}
    )
    assert 'has 80 labels' in refused(state, classes='91')
    body = {name: tensor for name, tensor in state.items() if not name.startswith('backbone.body.layer3.1')}
    assert 'has a backbone with (2, 2, 1, 2) blocks' in refused(body)
    names = {name: tensor[:7] if 'cls_logits' in name else tensor for name, tensor in state.items()}
    assert 'has 7 classes without names' in refused(names)
    (tmp_path / 'names.txt').write_text('one\n')
    assert 'has 7 classes, but' in refused(names, names=tmp_path / 'names.txt')
    source.write_bytes(source.read_bytes()[:2000])
    assert 'model.pth' in error_of(convert_torchvision, source)


def test_a_file_of_any_project_is_told_by_its_names(tmp_path):
    torch.save(network('retinanet', 80).state_dict(), tmp_path / 'x.pth')
    conversion = load_foreign(tmp_path / 'x.pth', CONFIGS)
    assert conversion.config_file == 'configs/retinanet/det_coco.py' and conversion.config['size'] == 'r18'
