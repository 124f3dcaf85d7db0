"""A converted file finds what YOLOv5 5.0.10, 6.2.3 and 7.0.14 find with it (tests/parity/record_yolov5_pt.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from parity.yolov5_state import ANCHORS, FACTORS, IMAGES, IOU_THR, SCORE_THR
from yolov5_files import read_recorded, seeded_tensors, write_pt

from detkit.converters.yolov5 import convert_yolov5, focus_to_conv
from detkit.inference.model import init_detector

pytestmark = pytest.mark.no_cover

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def recorded():
    return read_recorded()


# All releases have the same blocks, so that one of their larger models is enough. The first layer of release 5, a
# Focus, is in its small one, too.
CASES = [
    pytest.param(release, size, marks=[pytest.mark.slow] if release < '7' and size == 'm' else [])
    for release in '567'
    for size in FACTORS
]


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(('release', 'size'), CASES)
def test_detections_of_a_converted_file_equal_the_reference(recorded, tmp_path, release, size):
    name, seed = f'{release}_{size}', int(recorded['seed'])
    layout = recorded['layouts'][name]
    source = write_pt(tmp_path / 'in.pt', layout, seeded_tensors(layout, seed), size=size)
    convert_yolov5(source, tmp_path / 'out.pth', CONFIGS)
    model = init_detector(None, tmp_path / 'out.pth', device='cpu', fuse=False).double()
    assert model.info.classes == ('cat', 'dog', 'bird')
    assert model.head.prior_generator.anchors == ANCHORS
    model.head.test_cfg.update(score_thr=SCORE_THR, iou_thr=IOU_THR)
    with torch.no_grad():
        preds = model(seeded_tensor((IMAGES, 3, *IMG_SHAPE), 'image', seed))
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * IMAGES)
    for image, result in enumerate(results):
        found = result.pred_instances
        table = torch.cat([found.bboxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)], 1)
        assert len(table) == recorded[f'{name}.detections.{image}.count'] > 20
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')


@pytest.mark.parametrize('in_channels', [1, 3])
def test_a_focus_layer_is_a_convolution(in_channels):
    weight = seeded_tensor((5, 4 * in_channels, 3, 3), 'weight', 0)
    image = seeded_tensor((2, in_channels, 12, 8), 'image', 0)
    quarters = [image[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
    expected = F.conv2d(torch.cat(quarters, 1), weight, padding=1)
    found = F.conv2d(image, focus_to_conv(weight), stride=2, padding=2)
    torch.testing.assert_close(found, expected)
