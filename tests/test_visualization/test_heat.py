"""Heat over images, and feature maps as sheets."""

import numpy as np

from detkit.visualization.heat import channel_sheet, heat_over, onto_image


def test_heat_lies_where_the_object_was():
    """An image of 40 x 80, halved and padded to 64 x 64; heat in the cell that covers (24 ... 32, 8 ... 16) of that."""
    matrix = np.array([[0.5, 0, 12], [0, 0.5, 4], [0, 0, 1]])
    heat = np.zeros((8, 8), np.float32)
    heat[1, 3] = 1
    drawn = onto_image(heat, (64, 64), matrix, (40, 80))
    assert drawn.shape == (40, 80)
    y, x = np.unravel_index(drawn.argmax(), drawn.shape)
    assert abs(x + 0.5 - (28 - 12) * 2) <= 1 and abs(y + 0.5 - (12 - 4) * 2) <= 1
    assert drawn[:, 60:].max() == 0


def test_what_the_network_did_not_see_is_cold():
    matrix = np.array([[1.0, 0, -20], [0, 1, 0], [0, 0, 1]])  # columns 20 to 60 of 80
    drawn = onto_image(np.ones((4, 4)), (40, 40), matrix, (40, 80))
    assert drawn[:, 20:60].min() == 1 and drawn[:, :20].max() == drawn[:, 60:].max() == 0


def test_pictures():
    rng = np.random.default_rng(0)
    img = rng.integers(0, 256, (40, 60, 3), np.uint8)
    heat = np.zeros((40, 60))
    heat[:, 30:] = 1
    drawn = heat_over(img, heat)
    assert np.ptp(drawn[:, :30], axis=2).max() <= 1 and drawn[:, 30:, 0].mean() > drawn[:, 30:, 2].mean() + 50
    sheet = channel_sheet(rng.normal(size=(20, 5, 7)), 'neck', img, max_channels=6)
    assert sheet.dtype == np.uint8 and sheet.shape[1] >= 3 * 160
