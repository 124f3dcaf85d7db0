"""Masks of prototypes and coefficients are those of ultralytics, see ``record_ultralytics_masks.py``."""

from pathlib import Path

import numpy as np
import pytest

from detkit.models.postprocess import decode_masks

RECORDED = Path(__file__).parents[1] / 'parity' / 'ultralytics_masks.npz'
NAMES = ('enlarged', 'shrunk', 'padded', 'tall')


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as file:
        return dict(file)


def drawn(recorded, name):
    """Return the arguments of ``decode_masks``, (h, w) of the input and the boxes in its pixels."""
    img_shape, ori_shape, (top, left) = recorded[f'{name}.shapes'].tolist()
    coeffs, protos, bboxes = (recorded[f'{name}.{field}'] for field in ('coeffs', 'protos', 'bboxes'))
    scale = (img_shape[0] - 2 * top) / ori_shape[0]
    matrix = np.array([[scale, 0, left], [0, scale, top], [0, 0, 1]])
    moved = bboxes * np.float32(scale) + np.array([left, top, left, top], np.float32)
    return (coeffs, protos, bboxes, matrix, tuple(ori_shape)), tuple(img_shape), moved


def unpacked(bits, count, shape):
    return np.unpackbits(bits, count=count * shape[0] * shape[1]).reshape(count, *shape).astype(bool)


@pytest.mark.parametrize('name', NAMES)
def test_masks_of_the_original_image(recorded, name):
    arguments, _, _ = drawn(recorded, name)
    found = decode_masks(*arguments).to_bool()
    expected = unpacked(recorded[f'{name}.native'], len(found), arguments[-1])
    assert expected.any((1, 2)).sum() > len(found) / 2
    assert np.array_equal(found, expected)


@pytest.mark.parametrize('name', NAMES)
def test_masks_of_the_networks_input(recorded, name):
    (coeffs, protos, *_), img_shape, moved = drawn(recorded, name)
    found = decode_masks(coeffs, protos, moved, np.eye(3), img_shape).to_bool()
    assert np.array_equal(found, unpacked(recorded[f'{name}.input'], len(found), img_shape))
