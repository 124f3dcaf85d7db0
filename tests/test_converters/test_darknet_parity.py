"""Models filled from a Darknet stream give what OpenCV's importer computes (tests/parity says how recorded)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from darknet_models import build_family
from parity.darknet_streams import FAMILIES, cfg_path, samples, seeded_image, seeded_stream, write_weights

from detkit.converters.darknet import from_stream, read_stream
from detkit.converters.darknet_layout import Layout, Section, format_cfg

pytestmark = pytest.mark.no_cover

RECORDED = Path(__file__).parents[1] / 'parity' / 'opencv_darknet.npz'
SCORE_THR = 0.2  # of a yolo layer, below which OpenCV writes 0


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def assert_near(found: torch.Tensor, expected: np.ndarray, what: str) -> None:
    """float32 on both sides: within a ten thousandth of the largest magnitude."""
    difference = np.abs(samples(found.numpy()) - expected).max()
    assert difference <= 1e-4 * expected[-1], f'{what}: differs by {difference:.3e} of {expected[-1]:.3e}'


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('family', FAMILIES)
def test_outputs_equal_opencv_s(recorded, family, tmp_path):
    weights = tmp_path / 'seeded.weights'
    write_weights(weights, seeded_stream(cfg_path(family)))
    model = build_family(family)
    values = read_stream(weights)[1]
    weights.unlink()  # a quarter of a gigabyte
    model.load_state_dict(from_stream(values, Layout(model).layers, model.state_dict(), weights, family), assign=True)
    image = torch.from_numpy(seeded_image())
    height, width = image.shape[-2:]
    head = model.eval().head
    with torch.no_grad():
        levels = model(image)['anchor_preds']
    priors = head.prior_generator([level.shape[-2:] for level in levels])
    for number in range(len(levels)):
        level, anchors = levels[-1 - number], priors[-1 - number]  # Darknet's order is coarse to fine
        assert_near(level, recorded[f'{family}.{number}.raw'], f'{family}.{number}.raw')
        rows = level.permute(0, 2, 3, 1).reshape(-1, 85)
        x0, y0, x1, y1 = head.bbox_coder.decode(anchors.points, anchors.sizes_wh, rows[:, :4], anchors.stride).unbind(
            -1
        )
        bboxes = torch.stack(((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height), 1)
        obj = rows[:, 4:5].sigmoid()
        scores = obj * rows[:, 5:].sigmoid()
        found = torch.cat((bboxes, obj, scores.where(scores > SCORE_THR, 0)), 1)
        assert_near(found, recorded[f'{family}.{number}.yolo'], f'{family}.{number}.yolo')


@pytest.mark.parametrize('family', FAMILIES)
def test_the_writer_makes_what_opencv_read(family):
    net = Section('net', dict(width='608', height='608', channels='3'))
    assert format_cfg([net, *Layout(build_family(family)).layers]) == cfg_path(family).read_text()
