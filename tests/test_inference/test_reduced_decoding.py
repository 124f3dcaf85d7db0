"""JPEGs decoded at a part of their size: pixels, EXIF orientations, and results in pixels of the image."""

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image
from small_models import write_shallow_checkpoint

from detkit.inference import Predictor, SourceImage
from detkit.inference.preparation import Preparation
from detkit.utils.errors import ConfigError, DataError

SHAPE = (301, 405)  # (h, w) of the stored pixels, whole multiples of nothing


def jpeg(orientation: int = 1, suffix: str = 'JPEG', shape: tuple[int, int] = SHAPE) -> bytes:
    """Return a smooth random picture."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (7, 9, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    file = BytesIO()
    img = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    Image.fromarray(img).save(file, suffix, quality=98, exif=exif, subsampling=0)
    return file.getvalue()


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('divisor', [2, 4, 8])
def test_a_pixel_is_the_mean_of_those_that_the_matrix_gives_it(orientation: int, divisor: int):
    image = SourceImage('image0', jpeg(orientation))
    full, found = image.read().astype(np.float32), image.read_reduced(lambda shape: divisor)
    assert found.ori_shape == full.shape[:2] == (SHAPE if orientation < 5 else SHAPE[::-1])
    assert found.img.shape[:2] == tuple(-(-side // divisor) for side in found.ori_shape)
    inverse = np.linalg.inv(found.matrix)
    (scale, _, left), (_, _, top), _ = inverse
    assert scale == divisor
    means = cv2.boxFilter(np.pad(full, ((8, 8), (8, 8), (0, 0)), mode='edge'), -1, (divisor, divisor), anchor=(0, 0))
    rows, columns = (
        np.arange(length) * divisor + round(start) + 8
        for length, start in zip(found.img.shape, (top, left), strict=False)
    )
    difference = np.abs(means[rows][:, columns] - found.img)
    inner = difference[1:-1, 1:-1]
    assert inner.mean() < 1.5 and inner.max() < 16
    shifted = np.abs(means[rows][:, np.roll(columns, 1)] - found.img)[1:-1, 1:-1]
    assert shifted.mean() > 2 * inner.mean()


def test_what_is_no_jpeg_is_decoded_whole():
    png = SourceImage('image0', jpeg(suffix='PNG'))
    found = png.read_reduced(lambda shape: 8)
    assert found.matrix is None and np.array_equal(found.img, png.read())
    array = SourceImage('image0', np.zeros((400, 400, 3), np.uint8))
    assert array.read_reduced(lambda shape: 8).matrix is None


def test_broken_files_are_named():
    for content in (jpeg()[:900], b'\xff\xd8', b''):
        with pytest.raises(DataError, match='image0'):
            SourceImage('image0', content).read_reduced(lambda shape: 2)
    with pytest.raises(DataError, match='more than max_pixels'):
        SourceImage('image0', jpeg()).read_reduced(lambda shape: 8, 1000)


def test_an_image_is_never_reduced_below_the_input():
    letterbox = Preparation({}, 64, False)
    assert [letterbox.divisor_of((30, side)) for side in (127, 128, 255, 256, 511, 512, 9999)] == [1, 2, 2, 4, 4, 8, 8]
    shortest = Preparation({}, 64, True)
    assert [shortest.divisor_of((side, 9999)) for side in (127, 128, 256, 512)] == [1, 2, 4, 8]


@pytest.mark.parametrize('orientation', [1, 6])
def test_results_are_in_pixels_of_the_image(tmp_path, orientation: int):
    checkpoint = write_shallow_checkpoint(tmp_path / 'seg.pth')
    (tmp_path / 'a.jpg').write_bytes(jpeg(orientation))
    full, small = (Predictor(None, checkpoint, img_size=64, reduced_decoding=reduced) for reduced in (False, True))
    image = SourceImage(str(tmp_path / 'a.jpg'))
    expected, found = full.prepare(image, 0), small.prepare(image, 0)
    assert found.img is None and expected.img is not None
    assert found.packed['meta']['ori_shape'] == expected.packed['meta']['ori_shape']
    height, width = expected.packed['meta']['ori_shape']
    corners = np.array([[0, 0, 1], [width, height, 1]]).T
    apart = (found.packed['meta']['matrix'] - expected.packed['meta']['matrix']) @ corners
    assert np.abs(apart).max() < 1  # pixel of the input
    assert found.packed['inputs'].shape == expected.packed['inputs'].shape
    ((_, img, sample),) = small.stream(tmp_path / 'a.jpg')
    assert img is None and sample.ori_shape == (SHAPE if orientation < 5 else SHAPE[::-1])
    assert len(sample.pred_instances) and sample.pred_instances.masks.img_shape == sample.ori_shape
    assert sample.pred_instances.bboxes.max() > 128


@pytest.mark.parametrize('classifies', [False, True])
@pytest.mark.parametrize('shape', [(297, 151), (153, 303), (160, 315), (401, 204), (129, 129), (64, 801), (299, 401)])
def test_the_input_is_that_of_the_whole_image(shape: tuple[int, int], classifies: bool):
    """Sides that are no multiples scale and pad as they do without, and the picture lies where it does."""
    prepare = Preparation({}, 64, classifies)
    image = SourceImage('image0', jpeg(shape=shape))
    found = image.read_reduced(prepare.divisor_of)
    assert (found.matrix is None) == (min(shape) < 128 and classifies)
    expected, packed = prepare(image.read(), 'image0', 0), prepare.of_decoded(found, 'image0', 0)
    assert packed['inputs'].shape == expected['inputs'].shape
    for key in ('img_shape', 'ori_shape'):
        assert packed['meta'][key] == expected['meta'][key]
    corners = np.array([[0, 0, 1], [*shape[::-1], 1]]).T
    apart = np.abs((packed['meta']['matrix'] - expected['meta']['matrix']) @ corners).max()
    assert apart < (1e-6 if classifies else 0.51)  # pixels of the input; the scaled image is drawn on whole ones


def test_not_with_views(tmp_path):
    with pytest.raises(ConfigError, match='reduced_decoding'):
        Predictor(None, write_shallow_checkpoint(tmp_path / 'det.pth', 'det'), reduced_decoding=True, tile=64)
