"""YOLO-World's files: what a converted one finds equals ultralytics 8.4.190, and what other files are told
(tests/parity/record_ultralytics_world_pt.py says how that was recorded)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import error_of
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from parity.world_shapes import VERSIONS, texts, world_state
from pickled_files import in_half_precision, read_layouts, rename, set_attribute, tensor_shapes
from ultralytics_files import PARITY, write_pt

from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.ultralytics_keys import world_keys
from detkit.inference.model import init_detector

SCALES = {'s': [0.33, 0.5, 1024]}
CLASSES = ('red bolt', 'nut', 'washer')


@pytest.fixture(scope='module')
def recorded():
    return read_layouts(PARITY / 'ultralytics_world_pt.npz')


def written(path: Path, layout: list, seed: int, **attributes) -> Path:
    """A file with seeded weights and texts; ``attributes`` replace those of the whole model."""
    tensors = in_half_precision(world_state(tensor_shapes(layout, without='.dfl.'), seed))
    found = {'txt_feats': texts(seed)[: len(CLASSES)].unsqueeze(0).half(), **attributes}
    return write_pt(path, layout, 'det', tensors, scale='s', scales=SCALES, classes=CLASSES, attributes=found)


@pytest.mark.parametrize('version', VERSIONS)
def test_detections_of_a_converted_file_equal_the_reference(recorded, tmp_path, version):
    seed, count = int(recorded['seed']), int(recorded['images'])
    source = written(tmp_path / 'in.pt', recorded['layouts'][version], seed)
    report = '\n'.join(convert_ultralytics(source, tmp_path / 'out.pth', CONFIGS))
    assert 'YOLO-World-s detection, 3 classes' in report
    assert ('version=1' in report) == (version == 'v1')
    model = init_detector(None, tmp_path / 'out.pth', device='cpu', fuse=False).double()
    assert model.info.classes == CLASSES
    assert torch.equal(model.texts, texts(seed)[: len(CLASSES)].half().double())
    model.head.test_cfg.update(score_thr=float(recorded['score_thr']), multi_label=False)
    with torch.no_grad():
        preds = model(seeded_tensor((count, 3, *IMG_SHAPE), 'image', seed))
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * count)
    for image, result in enumerate(results):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert len(table) == recorded[f'{version}.detections.{image}.count'] > 10
        assert_matches(table, recorded[f'{version}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('version', VERSIONS)
def test_names_go_there_and_back(recorded, version):
    keys = world_keys(int(version[1:]))
    for name in tensor_shapes(recorded['layouts'][version], without='.dfl.'):
        assert keys.to_theirs(keys.to_detkit(name)) == name
    assert keys.to_detkit('clip_model.model.weight') is None


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('change', 'attributes', 'expected'),
    [
        (None, {'txt_feats': None}, "has no embeddings of its classes' names"),
        (None, {'txt_feats': torch.full((1, 3, 512), float('nan'))}, "has no embeddings of its classes' names"),
        (
            None,
            {'txt_feats': torch.eye(3, 512)[None] * torch.tensor([[1], [1], [0]])},
            'some that are zero or not finite',
        ),
        (None, {'txt_feats': torch.full((1, 3, 512), 1e300, dtype=torch.float64)}, 'some that are zero or not finite'),
        (None, {'txt_feats': torch.rand(1, 4, 512)}, 'names 3 classes, but has 4 embeddings'),
        (None, {'txt_feats': torch.rand(1, 3, 100)}, 'embeddings of 100 numbers, where YOLO-World has 512'),
        (set_attribute('model.12.attn', 'scale', 2.0), {}, 'model.12.attn (MaxSigmoidAttnBlock) has scale 2.0'),
        (
            rename('model.22', 'ultralytics.nn.modules.head.Detect'),
            {},
            'layer 22 is a Detect, where YOLO-World has WorldDetect',
        ),
    ],
    ids=['none', 'nan', 'zero', 'too large', 'too many', 'too short', 'scale', 'head'],
)
def test_another_model_is_one_clear_sentence(recorded, tmp_path, change, attributes, expected):
    layout = copy.deepcopy(recorded['layouts']['v2'])
    if change is not None:
        change(layout, None)
    message = error_of(convert_ultralytics, written(tmp_path / 'in.pt', layout, 1, **attributes))
    assert expected in message and '\n' not in message
