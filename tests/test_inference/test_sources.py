import io
import itertools
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from detkit.datasets.transforms.loading import read_image
from detkit.inference import source_image
from detkit.inference.sources import SourceImage, find_images, find_sources, images_of, require_images
from detkit.inference.video import Video
from detkit.utils.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('b.jpg', 'a.PNG', 'deep/c.jpeg', 'notes.txt', '.hidden.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(images: list[SourceImage]) -> list[str]:
    return [Path(image.name).name for image in images]


def test_paths(folder: Path):
    assert names(find_images(folder / 'b.jpg')) == ['b.jpg']
    assert names(find_images(str(folder))) == ['a.PNG', 'b.jpg', 'c.jpeg']
    assert names(find_images(str(folder / '*.jpg'))) == ['b.jpg']
    assert names(find_images(str(folder / '**' / '*'))) == ['a.PNG', 'b.jpg', 'c.jpeg']
    assert names(find_images([folder / 'deep', folder / 'b.jpg'])) == ['c.jpeg', 'b.jpg']


def colours(height: int = 4, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def only(source, **options) -> np.ndarray:
    (image,) = find_images(source, **options)
    return image.read()


def test_arrays():
    img = colours()
    assert np.shares_memory(only(img), img) and (only(img) == img).all() and len(find_images([img, img])) == 2
    assert [image.name for image in find_images([img, img])] == ['image0', 'image1']
    assert (only(img[..., ::-1], channel_order='bgr') == img).all()
    assert (only(img[..., 0]) == img[..., :1]).all() and (only(img[..., :1]) == img[..., :1]).all()
    rgba = np.dstack([img, img[..., 0]])
    assert (only(rgba) == img).all() and (only(rgba[..., [2, 1, 0, 3]], channel_order='bgr') == img).all()


def test_tensors():
    img = colours()
    tensor = torch.from_numpy(img).permute(2, 0, 1)
    assert (only(tensor) == img).all() and (only(tensor / 255) == img).all()
    assert (only(tensor.flip(0), channel_order='bgr') == img).all()
    batch = find_images(torch.stack([tensor, 255 - tensor]))
    assert [image.name for image in batch] == ['image0', 'image1'] and (batch[1].read() == 255 - img).all()


def test_pillow_images_and_bytes_are_read_as_files_are(tmp_path: Path):
    path, exif = tmp_path / 'turned.jpg', Image.Exif()
    exif[274] = 6  # to be turned by a quarter
    Image.fromarray(colours(8, 16)).save(path, exif=exif)
    expected = read_image(str(path))
    assert expected.shape == (16, 8, 3)
    with Image.open(path) as image:
        (found,) = find_images(image)
        assert found.name == str(path) and (found.read() == expected).all()
    assert (only(path.read_bytes()) == expected).all() and (only(bytearray(path.read_bytes())) == expected).all()
    grey = Image.fromarray(colours()[..., 0])
    assert (only(grey) == colours()[..., :1]).all() and find_images(grey)[0].name == 'image0'
    assert (only(grey.convert('RGBA')) == colours()[..., :1]).all()
    (broken,) = find_images(path.read_bytes()[:300])
    with pytest.raises(DataError, match='image0 is truncated'):
        broken.read()


def test_opened_files(tmp_path: Path):
    buffer = io.BytesIO()
    Image.fromarray(colours()).save(buffer, 'PNG')
    (written,) = find_images([buffer])  # it stands at its end
    assert 'seek(0)' in written.error
    for _ in range(2):
        buffer.seek(0)
        (image,) = find_images(buffer)
        assert image.name == 'image0' and (image.read() == colours()).all() and (image.read() == colours()).all()
    path = tmp_path / 'a.png'
    path.write_bytes(buffer.getvalue())
    with path.open('rb') as file:
        (image,) = find_images(file)
    assert image.name == str(path) and (image.read() == colours()).all()  # also when it is closed
    with path.open('r', encoding='utf-8') as text, pytest.raises(DataError, match="open it in mode 'rb'"):
        find_images(text)
    with pytest.raises(DataError, match='closed file'):
        find_images(file)


def test_the_images_of_an_iterator_are_taken_when_they_are_used(folder: Path):
    taken = []

    def items() -> Iterator[object]:
        frame = np.zeros((4, 5, 3), np.uint8)
        for number in range(3):
            frame[:] = number  # the same array again
            taken.append(number)
            yield frame

    (source,) = find_sources(items())
    images = images_of([source])
    assert not taken and next(images).name == 'image0' and taken == [0]
    rest = list(images)
    assert [image.name for image in rest] == ['image1', 'image2']
    assert [int(image.read().max()) for image in rest] == [1, 2] and find_images(iter(())) == []


def test_each_item_of_an_iterator_gives_an_image(folder: Path, tmp_path: Path):
    items = [folder / 'b.jpg', [colours(), None], Image.fromarray(colours()), 0, iter([colours()]), 'none.jpg']
    images = find_images(itertools.chain(items, [colours()[..., ::-1]]))
    assert [image.error is None for image in images] == [True, True, False, True, False, False, False, True]
    assert [image.name for image in images[1:4]] == ['image1', 'image2', 'image3'] and images[7].name == 'image7'
    assert (images[3].read() == colours()).all() and isinstance(images[3].content, np.ndarray)
    assert 'camera0 is a video' in images[4].error and 'itertools.chain' in images[5].error
    (turned,) = find_images(iter([colours()[..., ::-1]]), 'bgr')
    assert (turned.read() == colours()).all()


@pytest.mark.parametrize(
    ('img', 'text'),
    [
        (np.zeros((4, 5, 3), np.float32), 'must be uint8, not float32; multiply values'),
        (np.zeros((4, 5, 3), np.uint16), 'must be uint8, not uint16$'),
        (np.zeros((3, 4, 5), np.uint8), r'not \(3, 4, 5\); move its channels to the end'),
        (np.zeros((2, 4, 5, 3), np.uint8), r'give a batch as list'),
        (np.zeros((0, 5, 3), np.uint8), r'not \(0, 5, 3\)'),
        (np.zeros((4, 5, 2), np.uint8), r'not \(4, 5, 2\)'),
        (torch.zeros(4, 5, 3), 'move its channels to the front'),
        (torch.zeros(4, 5), r'\(3, H, W\) or \(B, 3, H, W\), not \(4, 5\)'),
        (torch.full((3, 4, 5), 255.0), 'from 255 to 255; give them'),
        (torch.full((3, 4, 5), torch.nan), 'from nan to nan'),
        (torch.zeros(3, 4, 5, dtype=torch.int64), 'not torch.int64'),
        (torch.zeros(0, 3, 4, 5), r'not \(0, 3, 4, 5\)'),
    ],
)
def test_arrays_and_tensors_that_are_no_image(img, text):
    with pytest.raises(DataError, match=text):
        find_images(img)


def test_lines_of_a_text_file_are_files(folder: Path, monkeypatch: pytest.MonkeyPatch):
    lists = folder / 'lists'
    lists.mkdir()
    Image.new('RGB', (4, 4)).save(lists / 'c.png')
    (folder / 'clip.mp4').touch()
    lines = ['c.png', '', 'b.jpg', 'clip.mp4', 'none.jpg', 'all.txt', 'https://host/a.jpg', str(folder / 'b.jpg')]
    (lists / 'all.txt').write_text('\n'.join(lines))
    monkeypatch.chdir(folder)
    found = find_sources(Path('lists/all.txt'))
    assert [Path(each.name).name for each in found] == [Path(line).name for line in lines if line]
    assert [isinstance(each, Video) for each in found].index(True) == 2
    assert [each.error is None for each in images_of([*found[:2], *found[3:]])] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]
    assert "'none.jpg', a line of the list 'lists/all.txt', does not exist" == found[3].error
    assert 'is no image and no video' in found[4].error and "'https://host/a.jpg', a line of" in found[5].error
    (folder / 'readme.txt').write_text('Pictures of birds\n')
    with pytest.raises(DataError, match="'Pictures of birds', a line of the list"):
        require_images(find_sources('readme.txt'))


def test_each_entry_of_a_list_gives_an_image(folder: Path):
    entries = [folder / 'b.jpg', folder / 'none.jpg', None, np.zeros((4, 5, 3)), colours(), 3.5, [b'', 'ftp://x/y.jpg']]
    images = find_images(entries)
    assert len(images) == 8 and [i for i, image in enumerate(images) if image.error is None] == [0, 4, 6]
    assert images[1].name == str(folder / 'none.jpg') and 'does not exist' in images[1].error
    assert 'cv2.imread returns None' in images[2].error and images[3].name == 'image3'
    assert 'http:// or https://' in images[7].error
    for image in (images[1], images[6]):
        with pytest.raises(DataError, match=image.error or 'is empty'):
            image.read()
    assert find_images([]) == []
    with pytest.raises(DataError, match='does not exist'):
        require_images(images[1:4])
    assert require_images(images[1:5]) == images[1:5]
    with pytest.raises(DataError, match='is empty'):
        require_images([])


def test_the_order_of_colours_is_said(folder: Path):
    with pytest.raises(ConfigError, match="'rgb' or 'bgr'"):
        find_images(colours(), 'BGR')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server on this machine that offers ``tmp_path``."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{running.server_port}'
        running.shutdown()
        thread.join()


def test_addresses(server: str, tmp_path: Path, monkeypatch):
    cv2.imwrite(str(tmp_path / 'a.png'), colours())
    (tmp_path / 'page.png').write_text('<html>')
    (image,) = find_images(f'{server}/a.png')
    assert (image.read() == colours()[..., ::-1]).all()
    (tmp_path / 'ein Bär.png').write_bytes((tmp_path / 'a.png').read_bytes())
    for name in ('ein Bär.png', 'ein%20B%C3%A4r.png'):  # as a browser shows it, and as it asks for it
        assert (find_images(f'{server}/{name}')[0].read() == colours()[..., ::-1]).all()
    (tmp_path / 'a.png').unlink()
    assert (image.read() == colours()[..., ::-1]).all()  # it was fetched once
    for name, text in (('none.png', 'cannot be downloaded: HTTP Error 404'), ('page.png', 'is no image')):
        (image,) = find_images(f'{server}/{name}')
        with pytest.raises(DataError, match=f'{name} {text}'):
            image.read()
    cv2.imwrite(str(tmp_path / 'large.png'), colours(100, 100))
    monkeypatch.setattr(source_image, 'MAX_DOWNLOAD_BYTES', 1000)
    (image,) = find_images(f'{server}/large.png')
    with pytest.raises(DataError, match='larger than'):
        image.read()
    for address in ('file:///etc/passwd', 'ftp://example.org/a.png'):
        with pytest.raises(DataError, match='http:// or https://'):
            find_images(address)


@pytest.mark.parametrize(
    ('source', 'text'),
    [
        ('b.jgp', r"does not exist\. Did you mean 'b\.jpg'"),
        ('notes.txt', 'names no image'),
        ('notes.md', 'is no image, no video and no list'),
        ('*.gif', 'no image and no video fits'),
        ('nowhere/x.jpg', 'does not exist'),
        ('link.jpg', r"link\.jpg' is a link to 'gone\.jpg', which does not exist\.$"),
        ('pipe.jpg', r"pipe\.jpg' is a pipe, a socket or a device\.$"),
        ('empty', 'holds no image'),
        ('*.txt', '1 other files'),
    ],
)
def test_sources_without_an_image(folder: Path, source: str, text: str):
    (folder / 'notes.md').touch()
    (folder / 'empty').mkdir()
    (folder / 'link.jpg').symlink_to('gone.jpg')
    os.mkfifo(folder / 'pipe.jpg')
    with pytest.raises(DataError, match=text):
        find_images(str(folder / source))


@pytest.mark.parametrize('source', [3, None, set()])
def test_things_that_are_no_source(source):
    with pytest.raises(DataError):
        find_images(source)
