"""``Detector`` finds on real pictures what ultralytics 8.4.190 finds with the same file, from picture to result.

``tests/parity/record_ultralytics_detector.py`` says how its results were recorded. No picture shrinks by more than 2:
detkit smooths those before it samples them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import ultralytics_files
from parity.predicted import BEST, IMAGES, IOU_THR, SCORE_THR, SCORE_THRS, SIZES, spread
from parity.shapes import loss_state
from pickled_files import in_half_precision, tensor_shapes

from detkit import Detector
from detkit.inference import Result

RECORDED = Path(__file__).parents[1] / 'parity' / 'ultralytics_detector.npz'
pytestmark = pytest.mark.realdata


@pytest.fixture(scope='module')
def recorded() -> dict[str, np.ndarray]:
    with np.load(RECORDED) as file:
        return dict(file)


def write_file(path: Path, task: str, seed: int) -> Path:
    layout = ultralytics_files.read_recorded()['layouts'][f'{task}_n']
    weights = spread(loss_state(tensor_shapes(layout, without='.dfl.'), seed))
    return ultralytics_files.write_pt(path, layout, task, in_half_precision(weights, torch.float16))


def table(result: Result) -> np.ndarray:
    """In the form that was recorded."""
    ends = [result.scores[:, None], result.labels[:, None]]
    if result.probs is not None:
        return result.probs
    if result.rbboxes is not None:
        return np.concatenate([result.rbboxes, *ends], 1)
    columns = [result.bboxes, *ends]
    if result.keypoints is not None:
        columns.append(result.keypoints[..., :2].reshape(len(result), -1))
    if result.masks is not None:
        rows, cols = (np.arange(side) + 0.5 for side in result.img_shape)
        areas = result.masks.sum((1, 2))
        centres = [(result.masks * grid).sum((1, 2)) / areas.clip(min=1) for grid in (cols, rows[:, None])]
        columns.append(np.stack([areas, *centres], 1))
    return np.concatenate(columns, 1)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('task', list(IMAGES))
def test_results_equal_the_reference(task, recorded, real_data, tmp_path):
    model = Detector(write_file(tmp_path / 'x.pt', task, int(recorded['seed'])), device='cpu')
    settings = dict(iou_thr=IOU_THR, max_per_img=BEST, retina_masks=True)
    for size in SIZES[task]:
        score_thr = SCORE_THRS.get((task, size), SCORE_THR)
        results = model([real_data / name for name in IMAGES[task]], img_size=size, score_thr=score_thr, **settings)
        for number, result in enumerate(results):
            assert result.error is None
            found, expected = table(result), recorded[f'{task}.{size}.{number}']
            if task == 'seg':  # the reference leaves out boxes without a pixel of mask
                nearest = [np.abs(found[:, :4] - bbox).max(1).argmin() for bbox in expected[:, :4]]
                if pads_by_whole_mask_pixels(result.img_shape, size):
                    assert nearest == np.flatnonzero(found[:, 6]).tolist()
                else:  # it cuts the padding off at whole mask pixels, which shifts a mask by up to half of one
                    found, expected = found[:, :6], expected[:, :6]
                found = found[nearest]
            np.testing.assert_allclose(found, expected, atol=1e-2, rtol=1e-3)


def pads_by_whole_mask_pixels(shape: tuple[int, int], size: int) -> bool:
    """Whether the padding on each side of a letterbox is a multiple of 4, the pixels of the input in one of a mask."""
    sides = [round(side * size / max(shape)) for side in shape]
    return all((-side % 32) % 8 == 0 for side in sides)
