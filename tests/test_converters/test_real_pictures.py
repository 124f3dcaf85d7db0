"""Converted weights find on real pictures what their project finds, however much the pictures shrink.

In tests/parity, record_ultralytics_predict.py, record_transformers_input.py and record_darknet_letterbox.py say how the
results were recorded.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
from parity.real_pictures import (
    DARKNET_SIZE,
    DETR_MAX_SIZE,
    DETR_SHORT_SIDE,
    OBB_PICTURES,
    PICTURES,
    ROWS,
    SCORE_THR,
    SIZES,
    digest,
    pictures_of,
    with_spread_boxes,
    with_spread_scores,
)
from PIL import Image
from ultralytics_files import read_recorded, seeded_tensors, write_pt

from detkit.config import load_config
from detkit.converters.common import resolve_config
from detkit.converters.darknet import INPUT_OPTIONS
from detkit.converters.ultralytics import convert_ultralytics
from detkit.datasets.transforms.loading import read_image
from detkit.inference import Predictor
from detkit.inference.steps import prediction_steps
from detkit.registry import TRANSFORMS
from detkit.structures import Annotations, Record
from detkit.structures.sample import Sample
from detkit.utils.rng import keyed_rng

PARITY = Path(__file__).parents[1] / 'parity'
CONFIGS = Path(__file__).parents[2] / 'configs'
# Family -> the results, and the weights that the file holds.
FAMILIES = {
    'yolov8': ('ultralytics_predict.npz', with_spread_scores),
    'yolo26': ('ultralytics_yolo26_predict.npz', with_spread_boxes),
}

pytestmark = [pytest.mark.realdata, pytest.mark.no_cover]


@pytest.fixture(scope='module')
def recorded():
    found = {}
    for family, (file, _) in FAMILIES.items():
        with np.load(PARITY / file) as arrays:
            found[family] = dict(arrays)
    return found


@pytest.fixture(scope='module')
def convert(tmp_path_factory):
    layouts = {family: read_recorded(family)['layouts'] for family in FAMILIES}
    made = {}

    def checkpoint(task: str, seed: int, family: str = 'yolov8') -> Path:
        if (family, task) not in made:
            folder = tmp_path_factory.mktemp(task)
            layout = layouts[family][f'{task}_n']
            tensors = FAMILIES[family][1](seeded_tensors(layout, seed))
            source = write_pt(folder / 'in.pt', layout, task, tensors, classes=tuple('abc'))
            convert_ultralytics(source, folder / 'out.pth', CONFIGS)
            made[family, task] = folder / 'out.pth'
        return made[family, task]

    return checkpoint


def table(task: str, sample) -> np.ndarray:
    """In the form that was recorded."""
    if task == 'cls':
        return sample.pred_scores.numpy()
    found = sample.pred_instances
    scores = found.scores.numpy()
    if task == 'obb':
        return np.concatenate([found.rbboxes.numpy(), scores[:, None]], 1)
    keypoints = [found.keypoints.numpy()[..., :2].reshape(len(scores), -1)] if task == 'pose' else []
    return np.concatenate([found.bboxes.numpy(), scores[:, None], *keypoints], 1)


def differences(found: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """``(N,)``: how far each row of the reference is from the nearest one found, in pixels."""
    distances = np.abs(found[None] - reference[:, None]).max(2)
    return distances.min(1)


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('task', SIZES)
@pytest.mark.parametrize('family', FAMILIES)
def test_detections_equal_the_reference(recorded, convert, real_data, family, task):
    recorded = recorded[family]
    predictor = Predictor(
        None,
        convert(task, int(recorded['seed']), family),
        device='cpu',
        fuse=False,
        img_size=SIZES[task],
        score_thr=SCORE_THR,
    )
    for picture in pictures_of(task):
        name = f'{task}.{Path(picture).stem}'
        found = table(task, predictor.predict(real_data / picture)[0])
        if task == 'cls':
            np.testing.assert_allclose(found, recorded[name], atol=1e-5)
            continue
        assert len(recorded[name]) == ROWS
        assert differences(found, recorded[name]).max() < 0.02
        if task != 'seg':  # the reference leaves out objects whose mask is empty
            assert abs(len(found) - int(recorded[f'{name}.count'])) <= 1


def test_smoothed_pictures_differ_from_the_reference(recorded, convert, real_data):
    """What detkit's own configs do is no equal way, so that the test above can fail."""
    recorded = recorded['yolov8']
    checkpoint, seed = convert('det', int(recorded['seed'])), recorded['det.000000000009']
    predictor = Predictor(
        CONFIGS / 'yolov8' / 'det_coco.py',
        checkpoint,
        device='cpu',
        img_size=SIZES['det'],
        score_thr=SCORE_THR,
        cfg_options=dict(classes=('a', 'b', 'c')),
    )
    found = table('det', predictor.predict(real_data / pictures_of('det')[0])[0])
    assert differences(found, seed).max() > 0.5


def render(path: str, img: np.ndarray, steps: list[dict]) -> np.ndarray:
    """The input that a config's steps make of an image."""
    sample = Sample(Record(path, path, img.shape[:2], Annotations()), keyed_rng(0, 0, 0), images={path: img})
    for step in steps:
        sample = TRANSFORMS.build(step)(sample)
    return sample.img


@pytest.mark.parametrize('backend', ['pillow', 'torchvision'])
@pytest.mark.parametrize('picture', (*PICTURES, *OBB_PICTURES), ids=lambda picture: Path(picture).stem)
def test_the_input_of_detr_equals_the_reference(real_data, picture, backend):
    with np.load(PARITY / 'detr_input.npz') as arrays:
        expected = {key: arrays[f'{backend}.{Path(picture).stem}.{key}'] for key in ('shape', 'crc', 'samples')}
    path = str(real_data / picture)
    with Image.open(path) as image:  # Pillow's decoder, as the reference's
        img = np.asarray(image.convert('RGB'))
    config = load_config(CONFIGS / 'detr' / 'det_coco.py', need_classes=False)
    steps = prediction_steps(config, 800, False)[:-1]
    assert [step['type'] for step in steps] == ['LoadImageFromFile', 'ResizeShortestEdge', 'Render']
    steps[1].update(size=DETR_SHORT_SIDE, max_size=DETR_MAX_SIZE)
    found = digest(render(path, img, steps))
    assert tuple(found['shape']) == tuple(expected['shape'])
    # torchvision's kernel for tensors rounds in another way than Pillow's.
    assert np.abs(found['samples'].astype(int) - expected['samples']).max() <= (0 if backend == 'pillow' else 1)
    assert backend != 'pillow' or int(found['crc']) == int(expected['crc'])


@pytest.mark.parametrize('picture', (*PICTURES, *OBB_PICTURES), ids=lambda picture: Path(picture).stem)
def test_the_input_of_darknet_equals_the_reference(real_data, picture):
    with np.load(PARITY / 'darknet_letterbox.npz') as arrays:
        samples, total = (arrays[f'{Path(picture).stem}.{key}'] for key in ('samples', 'sum'))
    config = resolve_config(CONFIGS / 'yolov3' / 'det_coco.py', INPUT_OPTIONS)
    path = str(real_data / picture)
    img = render(path, read_image(path), prediction_steps(config, DARKNET_SIZE, False)[:-1])
    assert img.shape == (DARKNET_SIZE, DARKNET_SIZE, 3)
    found = img.ravel()[np.linspace(0, img.size - 1, 1024).astype(np.int64)]
    # Darknet keeps fractions of a grey level; OpenCV before 5 rounds positions to a 32nd of a pixel.
    assert np.abs(found - samples).max() <= (0.6 if cv2.__version__.startswith('5') else 8)
    assert abs(img.sum(dtype=np.float64) - total) / img.size < 0.3
