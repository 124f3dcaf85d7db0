"""Scenes compose matrices and clip rectangles; nothing is drawn."""

import numpy as np
import pytest

from detkit.structures import Annotations, Scene
from detkit.structures.scene import scale_matrix, translation_matrix


@pytest.fixture
def scene():
    return Scene.of_image(np.zeros((40, 60, 3), np.uint8), Annotations())


def test_matrices_multiply_in_order(scene):
    first, second = scale_matrix(2, 3), translation_matrix(5, 7)
    moved = scene.moved(first, (120, 120)).moved(second)
    assert moved.size == (120, 120)
    assert moved.tiles[0].matrix.tolist() == (second @ first).tolist()
    assert moved.tiles[0].clip == (0, 0, 60, 40)
    assert scene.tiles[0].matrix.tolist() == np.eye(3).tolist()


def test_crop_cuts_in_the_tiles_own_pixels(scene):
    cropped = scene.moved(scale_matrix(2, 2), (80, 120)).cropped((20, 10, 60, 50))
    assert cropped.size == (40, 40)
    assert cropped.tiles[0].clip == (10, 5, 30, 25)
    assert (cropped.tiles[0].matrix @ [10, 5, 1]).tolist() == [0, 0, 1]


def test_crop_of_a_mirrored_tile(scene):
    mirrored = scene.moved(translation_matrix(60, 0) @ scale_matrix(-1, 1))
    assert mirrored.cropped((0, 0, 10, 40)).tiles[0].clip == (50, 0, 60, 40)


def test_crop_leaves_out_tiles_that_are_outside(scene):
    assert scene.moved(translation_matrix(100, 0)).cropped((0, 0, 60, 40)).tiles == ()


def test_a_turned_tile_cannot_be_cut(scene):
    turned = scene.moved(np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]))
    with pytest.raises(ValueError, match='before its tiles are turned'):
        turned.cropped((0, 0, 10, 10))
