"""Mirrored and rotated pictures, frequencies and boxes agree with each other."""

import cv2
import numpy as np
import pytest

from detkit.analysis.data.orientations import (
    COMPOSED,
    INVERSE,
    ORIENTATION_NAMES,
    orient,
    orient_bboxes,
    orient_frequencies,
)


def test_names():
    """The names say what NumPy's functions of these names do."""
    img = np.arange(12).reshape(3, 4)
    expected = {
        'same orientation': img,
        'mirrored left to right': np.fliplr(img),
        'mirrored top to bottom': np.flipud(img),
        'rotated by 180°': np.rot90(img, 2),
        'mirrored along the main diagonal': img.T,
        'rotated by 90° clockwise': np.rot90(img, -1),
        'rotated by 90° counter-clockwise': np.rot90(img),
        'mirrored along the other diagonal': np.rot90(img, 2).T,
    }
    for orientation, name in enumerate(ORIENTATION_NAMES):
        assert np.array_equal(orient(img, orientation), expected[name]), name


@pytest.mark.parametrize('orientation', range(8))
def test_one_orientation(orientation):
    rng = np.random.default_rng(0)
    img = rng.random((8, 8)).astype(np.float32)
    turned = np.ascontiguousarray(orient(img, orientation))
    np.testing.assert_allclose(cv2.dct(turned), orient_frequencies(cv2.dct(img), orientation), atol=1e-5)
    drawn = np.zeros((4, 10), int)
    drawn[1:3, 2:7] = 1
    ((x0, y0, x1, y1),) = orient_bboxes(np.array([[0.2, 0.25, 0.7, 0.75]]), orientation)
    rows, columns = np.nonzero(orient(drawn, orientation))
    height, width = orient(drawn, orientation).shape
    box = [x0 * width, y0 * height, x1 * width, y1 * height]
    assert box == pytest.approx([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert np.array_equal(orient(orient(img, orientation), INVERSE[orientation]), img)
    for second in range(8):
        assert np.array_equal(orient(turned, second), orient(img, COMPOSED[orientation, second]))
