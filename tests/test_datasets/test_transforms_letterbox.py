"""Letterboxed inputs equal those of ultralytics 8.4.190 (tests/parity says how they were recorded)."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from parity.seeded import seeded_array
from scene_helpers import sample_of

from detkit.datasets.base import DetDataset
from detkit.datasets.transforms import LetterBox, Render
from detkit.structures import Annotations, Record, Scene
from detkit.structures.sample import BatchFrame

RECORDED = np.load(Path(__file__).parents[1] / 'parity' / 'letterbox.npz')
SHAPES = [(480, 640), (333, 517), (1280, 853), (719, 1277), (1080, 1920)]
WAYS = {
    'predict': dict(rounding='nearest'),
    'predict_rect': dict(rounding='nearest', pad_to='divisor'),
    'val': {},
    'val_rect': {},
    'batch': {},
}


class Shapes(DetDataset):
    def load_records(self):
        self.metainfo = {'classes': ('thing',)}
        return [Record(str(shape), str(shape), shape, Annotations()) for shape in SHAPES]


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('shape', SHAPES, ids=lambda shape: f'{shape[0]}x{shape[1]}')
def test_equals_the_reference_pixel_for_pixel(way, shape):
    img = (seeded_array((*shape, 3), f'noise {shape}', int(RECORDED['seed'])) * 256).astype(np.uint8)
    results = sample_of(Scene.of_image(img, Annotations()))
    if way in ('val_rect', 'batch'):
        dataset = Shapes(rect=True)
        indices = [SHAPES.index(shape)] if way == 'val_rect' else range(len(SHAPES))
        results.batch_frame = dataset.batch_frame(indices)
    # The reference never averages, however much it shrinks.
    drawn = Render(prefilter_above=None)(LetterBox(640, **WAYS[way])(results)).img

    key = f'{way}.{shape[0]}x{shape[1]}'
    assert drawn.shape[:2] == tuple(RECORDED[f'{key}.shape'])
    samples = drawn.ravel()[np.linspace(0, drawn.size - 1, 1024).astype(np.int64)]
    same_opencv = cv2.__version__ == str(RECORDED['opencv'])
    assert np.abs(samples.astype(int) - RECORDED[f'{key}.samples']).max() <= (0 if same_opencv else 1)
    if same_opencv:
        assert zlib.crc32(drawn.tobytes()) == int(RECORDED[f'{key}.crc'])


@pytest.mark.parametrize('size, wanted', [((64, 128), (64, 128)), ((128, 64), (96, 64))])
def test_rectangular_batches_of_a_size_that_is_no_square(size, wanted):
    """Each image has the scale that it has alone, and the frame is no larger than the images need."""
    shapes = [(96, 128), (60, 150), (150, 100)]
    frame = BatchFrame.of_shapes(shapes, 32, 0.0)
    for shape in shapes:
        sample = sample_of(Scene.of_image(np.zeros((*shape, 3), np.uint8), Annotations()))
        sample.batch_frame = frame
        scene = LetterBox(size)(sample).scene
        assert scene.size == wanted
        assert scene.tiles[0].matrix[0, 0] == pytest.approx(min(size[0] / shape[0], size[1] / shape[1]), rel=0.02)


def test_large_images_are_averaged_by_default():
    img = np.zeros((96, 96, 3), np.uint8)
    img[::3] = 255  # a third of all rows: averaged grey, sampled black and white
    drawn = Render()(LetterBox(32)(sample_of(Scene.of_image(img, Annotations())))).img
    assert np.abs(drawn.astype(int) - 85).max() <= 1


@pytest.mark.parametrize('shape', [(50, 31), (64, 64), (7, 90)])
@pytest.mark.parametrize('rounding', ['up', 'nearest', 'down'])
def test_boxes_round_trip(shape, rounding):
    bboxes = np.array([[2, 1, 29, 6]], np.float32)
    scene = Scene.of_image(np.zeros((*shape, 3), np.uint8), Annotations(np.zeros(1, np.int64), bboxes))
    results = Render(min_size=0)(LetterBox(64, rounding=rounding)(sample_of(scene)))
    back = np.linalg.inv(results.matrix) @ np.append(results.annotations.bboxes.reshape(2, 2).T, [[1, 1]], 0)
    np.testing.assert_allclose(back[:2].T.ravel(), bboxes[0], atol=1e-4)


def test_small_images_stay_small_where_asked():
    scene = Scene.of_image(np.full((10, 20, 3), 7, np.uint8), Annotations())
    drawn = Render()(LetterBox(64, enlarge=False)(sample_of(scene))).img
    assert (drawn == 7).all(2).sum() == 200


def test_the_image_may_be_in_the_corner():
    scene = Scene.of_image(np.full((10, 20, 3), 7, np.uint8), Annotations())
    results = Render()(LetterBox(64, position='top_left')(sample_of(scene)))
    assert (results.img[:32] == 7).all() and (results.img[32:] == 114).all()
    assert results.matrix[:2, 2].tolist() == [0, 0]


@pytest.mark.parametrize('options', [dict(rounding='even'), dict(pad_to='edge'), dict(position='left')])
def test_unknown_options_are_errors(options):
    with pytest.raises(ValueError, match='expected'):
        LetterBox(**options)
