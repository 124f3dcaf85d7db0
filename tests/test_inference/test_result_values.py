"""Results as other programs take them, by value: DETR's masks, panoptic segments, images where nothing is found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from small_models import write_images, write_shallow_checkpoint

from detkit import Detector
from detkit.config import load_config
from detkit.config.resolve import literal_text
from detkit.engine import save_checkpoint
from detkit.inference import Result, Results
from detkit.registry import DETECTORS

TASKS = ('det', 'seg', 'pose', 'obb', 'cls')
SHAPE = (60, 90)


def detr_checkpoint(path: Path, config: str, options: dict, biases: dict[int, float]) -> Path:
    """Write a small DETR of random weights, whose biases of some classes are raised."""
    cfg = load_config(config, {'img_size': 64, 'pretrained': None, **options}, need_classes=False)
    cfg.model.backbone.depth = 18
    cfg.model.head.num_queries = 8
    cfg.model.head.transformer.update(embed_dims=64, num_encoder_layers=1, num_decoder_layers=1, feedforward_dims=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DETECTORS.build(cfg.model)
        for label, bias in biases.items():
            torch.nn.init.constant_(model.head.fc_cls.bias[label], bias)
    classes = list(cfg.get('classes') or cfg.val_dataloader.dataset.metainfo.classes)
    meta = {'format': 'detkit', 'format_version': 1, 'classes': classes, 'task': 'seg', 'config': literal_text(cfg)}
    save_checkpoint({'meta': meta, 'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp('images')
    (folder / 'broken.png').write_bytes(b'no image')
    return [*write_images(folder, 1, SHAPE), folder / 'broken.png']


@pytest.fixture(scope='module')
def masked(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, images: list[Path]) -> dict[str, Results]:
    """Results of DETR's instance and panoptic masks on an image and a broken one."""
    folder = tmp_path_factory.mktemp('detr')
    panoptic = {'data_root': str(tiny_data / 'panoptic'), 'model.head.test_cfg.panoptic_score_thr': 0.0}
    files = {
        'seg': detr_checkpoint(folder / 'seg.pth', 'detr/seg_coco', {}, {1: 3.0, 18: 2.9}),
        'panoptic': detr_checkpoint(folder / 'panoptic.pth', 'detr/panoptic_coco', panoptic, {187: 3.0, 1: 2.5}),
    }
    return {kind: Detector(file, device='cpu')(images, score_thr=0.0, img_size=64) for kind, file in files.items()}


@pytest.fixture
def fiftyone(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package's labels, which keep what they are given."""
    module = ModuleType('fiftyone')
    for name in ('Detection', 'Detections', 'Classification', 'Keypoint', 'Keypoints', 'Polyline', 'Polylines'):
        setattr(module, name, type(name, (SimpleNamespace,), {}))
    monkeypatch.setitem(sys.modules, 'fiftyone', module)
    return module


@pytest.mark.parametrize('kind', ['seg', 'panoptic'])
def test_masks_of_a_detr(masked: dict[str, Results], kind: str, fiftyone: ModuleType):
    sv, pandas = pytest.importorskip('supervision'), pytest.importorskip('pandas')
    result, _ = masked[kind]
    assert len(result) > 0 and result.masks.shape == (len(result), *SHAPE) and result.masks.any()
    objects = json.loads(result.to_json())['objects']
    assert objects == result.to_dict()['objects'] and [each['label'] for each in objects] == result.labels.tolist()
    assert np.allclose([each['bbox'] for each in objects], result.bboxes, atol=1e-3)
    for each, entry, mask in zip(objects, result.to_coco(), result.masks, strict=True):
        assert entry['image_id'] == 0 and entry['segmentation'] == each['segmentation']
        assert (coco_mask.decode(each['segmentation']).astype(bool) == mask).all()
        x, y, w, h = entry['bbox']
        assert np.allclose([x, y, x + w, y + h], each['bbox'], atol=2e-3)
    detections = result.to_supervision()
    assert isinstance(detections, sv.Detections) and (detections.mask == result.masks).all()
    assert detections.data['class_name'].tolist() == result.names and (detections.xyxy == result.bboxes).all()
    table = result.to_pandas()
    assert isinstance(table, pandas.DataFrame) and table['name'].tolist() == result.names
    assert np.allclose(table[['x0', 'y0', 'x1', 'y1']], result.bboxes) and np.allclose(table['score'], result.scores)
    for own, label in zip(result, result.to_fiftyone().detections, strict=True):
        (x0, y0, x1, y1), (left, top, width, height) = own.bboxes[0], label.bounding_box
        assert (label.label, label.confidence) == (own.names[0], float(own.scores[0]))
        assert np.allclose([left * 90, top * 60, (left + width) * 90, (top + height) * 60], [x0, y0, x1, y1], atol=1e-3)
        rows, columns = slice(int(y0), int(np.ceil(y1))), slice(int(x0), int(np.ceil(x1)))
        assert (label.mask == own.masks[0][rows, columns]).all()
    for crop, (x0, y0, x1, y1) in zip(result.crops(), result.bboxes, strict=True):
        expected = result.img[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
        assert (crop == expected).all() or min(x1 - x0, y1 - y0) == 0


def check_nothing(result: Result, task: str) -> None:
    """Check the forms of a result without objects, all of which are empty but of the right type."""
    sv, pandas = pytest.importorskip('supervision'), pytest.importorskip('pandas')
    assert len(result) == 0 and result.to_dict()['objects'] == [] and result.to_coco() == []
    assert json.loads(result.to_json())['error'] == result.error
    assert isinstance(result.to_pandas(), pandas.DataFrame) and len(result.to_pandas()) == 0
    found, label = result.to_supervision(), result.to_fiftyone()
    if task == 'cls':
        assert len(found.class_id) == 0 and label is None
        return
    assert isinstance(found, sv.Detections) and len(found) == 0 and found.xyxy.shape == (0, 4)
    assert next(iter(vars(label).values())) == [] and result.crops() == [] and result.to_yolo() == []


@pytest.mark.parametrize('kind', ['seg', 'panoptic'])
def test_a_detr_that_finds_nothing(masked: dict[str, Results], kind: str, fiftyone: ModuleType):
    result, broken = masked[kind]
    assert 'no image' in broken.error and broken.img_shape is None
    check_nothing(broken, kind)
    check_nothing(result[:0], kind)


@pytest.mark.parametrize('task', TASKS)
def test_nothing_is_found(task: str, images: list[Path], tmp_path: Path, fiftyone: ModuleType):
    model = Detector(write_shallow_checkpoint(tmp_path / 'a.pth', task), device='cpu')
    result, broken = model(images, img_size=64, score_thr=1.0)
    assert broken.error is not None
    check_nothing(broken, task)
    if task == 'cls':  # its best class is always listed
        assert len(result) == 1 and result.to_coco()[0]['top5'][0]['score'] == pytest.approx(float(result.scores[0]))
        return
    assert result.error is None
    check_nothing(result, task)
    assert (result.plot() == result.img).all()
    names = {'seg': ('masks', (0, *SHAPE)), 'pose': ('keypoints', (0, 17, 3)), 'obb': ('rbboxes', (0, 5))}
    if task in names:
        name, shape = names[task]
        assert getattr(result, name).shape == shape
