from pathlib import Path

import numpy as np
import pytest

from detkit.inference.sources import find_images
from detkit.utils.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('b.jpg', 'a.PNG', 'deep/c.jpeg', 'notes.txt', '.hidden.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(images: list) -> list[str]:
    return [Path(image).name for image in images]


def test_paths(folder: Path):
    assert names(find_images(folder / 'b.jpg')) == ['b.jpg']
    assert names(find_images(str(folder))) == ['a.PNG', 'b.jpg', 'c.jpeg']
    assert names(find_images(str(folder / '*.jpg'))) == ['b.jpg']
    assert names(find_images(str(folder / '**' / '*'))) == ['a.PNG', 'b.jpg', 'c.jpeg']
    assert names(find_images([folder / 'deep', folder / 'b.jpg'])) == ['c.jpeg', 'b.jpg']


def test_arrays():
    img = np.zeros((4, 5, 3), np.uint8)
    assert find_images(img) == [img] and len(find_images([img, img])) == 2


@pytest.mark.parametrize(
    'img',
    [
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_image(img):
    with pytest.raises(DataError, match=r'\(H, W, 3\) uint8 RGB'):
        find_images(img)


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        ('b.jgp', r"does not exist\. Did you mean 'b\.jpg'"),
        ('notes.txt', 'is no image'),
        ('*.gif', 'no image fits'),
        ('nowhere/x.jpg', 'does not exist'),
        ('empty', 'holds no image'),
        ('*.txt', '1 other files'),
    ],
)
def test_sources_without_an_image(folder: Path, source: str, text: str):
    (folder / 'empty').mkdir()
    with pytest.raises(DataError, match=text):
        find_images(str(folder / source))


@pytest.mark.parametrize('source', [[], 3, None])
def test_things_that_are_no_source(source):
    with pytest.raises(DataError):
        find_images(source)
