"""Files are found by the names that other programs and machines gave them."""

import os
import unicodedata

import pytest

from detkit.datasets.image_files import read_list
from detkit.datasets.path_finder import PathFinder


@pytest.fixture
def root(tmp_path):
    for name in ('images/train/a.jpg', 'images/train/B c.JPG', 'images/val/ü.png', 'other/a.jpg'):
        (tmp_path / 'set' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'set' / name).write_bytes(b'')
    return tmp_path / 'set'


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('images/train/a.jpg', 'images/train/a.jpg'),
        ('./images/train/a.jpg', 'images/train/a.jpg'),
        ('./images/./train//a.jpg', 'images/train/a.jpg'),
        ('images\\train\\a.jpg', 'images/train/a.jpg'),
        ('.\\images\\train\\a.jpg', 'images/train/a.jpg'),
        ('images/train/B%20c.JPG', 'images/train/B c.JPG'),
        ('Images/Train/b c.jpg', 'images/train/B c.JPG'),
        ('images/val/' + unicodedata.normalize('NFD', 'ü.png'), 'images/val/ü.png'),
        ('images/val/%C3%BC.png', 'images/val/ü.png'),
        ('set/images/train/a.jpg', 'images/train/a.jpg'),
        ('train/a.jpg', 'images/train/a.jpg'),
        ('../set/images/train/a.jpg', 'images/train/a.jpg'),
        ('/home/someone/set/images/train/a.jpg', 'images/train/a.jpg'),
        ('C:\\data\\set\\images\\train\\a.jpg', 'images/train/a.jpg'),
        ('images/train/gone.jpg', None),
        ('a.jpg\0', None),
        ('', None),
    ],
)
def test_find(root, name, file):
    found = PathFinder(root).find(name)
    assert (found and os.path.relpath(found, root)) == file


def test_absolute_paths_of_this_machine(root, tmp_path):
    assert PathFinder(tmp_path).find(str(root / 'other/a.jpg')) == str(root / 'other/a.jpg')


def test_two_names_never_mean_one_file_by_guess(root):
    finder = PathFinder(root / 'other')
    assert finder.find('camera1/a.jpg') == str(root / 'other/a.jpg')
    assert finder.find('camera2/a.jpg') is None and finder.find('camera1/a.jpg') is not None


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
@pytest.mark.parametrize('newline', ['\n', '\r\n', '\r'])
def test_lists_of_any_encoding(root, encoding, newline):
    lines = ['images/val/ü.png', 'images/train/a.jpg', '']
    (root / 'list.txt').write_bytes(newline.join(lines).encode(encoding))
    assert read_list(root / 'list.txt', root) == [str(root / line) for line in lines[:2]]
