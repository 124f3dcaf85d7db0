"""Windows of images."""

import numpy as np
import pytest

from detkit.visualization.windows import Window

SHAPE = (100, 200)


@pytest.mark.parametrize(
    ('points', 'expected'),
    [
        ([[90, 40], [110, 50]], (82, 27, 36)),  # in the middle: 1.8 times the larger side
        ([[0, 0], [20, 20]], (0, 0, 36)),  # at the corner: moved inside
        ([[190, 90], [200, 100]], (168, 68, 32)),  # small: at least 32 pixels
        ([[-30, 10], [0, 30]], (-30, 0, 54)),  # outside: as far out as the points
        ([[0, 20], [180, 30]], (0, 0, 200)),  # never larger than the image
        ([[-20, 20], [230, 30]], (-20, 0, 250)),
    ],
)  # but for what is
def test_around(points, expected):
    window = Window.around(np.array(points, float), SHAPE, 72)
    assert (window.left, window.top, window.side) == expected and window.size == 72
    assert (window.moved(np.array(points)) >= 0).all() and (window.moved(np.array(points)) <= 72 + 1e-9).all()


def test_cutting_keeps_places():
    img = np.zeros((*SHAPE, 3), np.uint8)
    img[40:50, 90:110] = 200
    window = Window.around(np.array([[90.0, 40], [110, 50]]), SHAPE, 144)
    cut = window.cut(img)
    (x0, y0), (x1, y1) = window.moved(np.array([[90, 40], [110, 50]])).round().astype(int)
    assert cut.shape == (144, 144, 3) and (cut[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] == 200).all()
    cut[y0 - 4 : y1 + 4, x0 - 4 : x1 + 4] = 0
    assert not cut.any()
    outside = Window(-50, 0, 50, 50).cut(img)
    assert (outside[:, :49] == 255).all()
    np.testing.assert_allclose(window.moved_rbboxes(np.array([[100, 45, 20, 10, 0.3]])), [[72, 72, 80, 40, 0.3]])
