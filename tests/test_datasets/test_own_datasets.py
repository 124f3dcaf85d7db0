"""Values that a user's own dataset may not return, as a loss or the library that draws bitmaps would take them."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from scene_helpers import ListDataset

from detkit.structures.annotations import Annotations, Record
from detkit.structures.polygons import Polygons
from detkit.utils.errors import ConfigError

RLE = mask_utils.encode(np.asfortranarray(np.eye(8, 12, dtype=np.uint8)))


def load(**changed):
    given = dict(
        labels=np.zeros(1, np.int64), bboxes=np.array([[1, 1, 6, 5]], np.float32), **{'rles': [RLE], **changed}
    )
    return ListDataset([Record('a.png', 1, (8, 12), Annotations(**{**given, **changed}))])


def ring(*points):
    return Polygons(np.array(points, np.float32), np.array([len(points)]), np.zeros(1, np.int64))


def test_sound_objects_are_taken():
    dataset = load(polygons=ring((1, 1), (6, 1), (6, 5)), keypoints=np.zeros((1, 2, 3), np.float32))
    (rle,) = dataset.records[0].annotations.rles
    assert (mask_utils.decode(rle) == np.eye(8, 12)).all()


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_coordinates_are_finite(value):
    with pytest.raises(ConfigError, match=r'gives bboxes with .* no finite numbers, in a\.png'):
        ListDataset([Record('a.png', 1, (8, 12), Annotations(np.zeros(1, np.int64), np.array([[1, 1, 6, value]])))])
    for name, array in dict(
        rbboxes=np.array([[3, 3, value, 4, 0]], np.float32),
        keypoints=np.array([[[1, value, 0]]], np.float32),
    ).items():
        with pytest.raises(ConfigError, match=rf'load_records gives {name} with .*(nan|inf).* no finite.* in a\.png'):
            load(**{name: array})
    with pytest.raises(ConfigError, match=r'gives polygons.points with .* no finite numbers, in a\.png'):
        load(polygons=ring((1, 1), (6, 1), (6, value)))


@pytest.mark.parametrize(
    'rle, sentence',
    [
        ({**RLE, 'size': [12, 8]}, r'of the size \[12, 8\], where the image has \[8, 12\]'),
        ({**RLE, 'counts': RLE['counts'][:-1]}, 'whose run lengths do not make up its size'),
        ({**RLE, 'counts': RLE['counts'] + b'ooo'}, 'whose run lengths do not make up its size'),
        ({**RLE, 'counts': b''}, 'whose run lengths do not make up its size'),
        ({**RLE, 'counts': [0, 96]}, r'pycocotools\.mask\.encode returns'),
        ({'counts': RLE['counts']}, r'pycocotools\.mask\.encode returns'),
        (5, r'= 5, but a bitmap is a dict'),
    ],
)
def test_bitmaps_are_sound(rle, sentence):
    with pytest.raises(ConfigError, match=rf'load_records gives rles\[0\] .*{sentence}.* in a\.png'):
        load(rles=[rle])
