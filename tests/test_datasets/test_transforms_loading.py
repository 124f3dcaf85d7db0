"""Images come out whole, RGB and upright, or are named as unreadable."""

import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.datasets.transforms import LoadImageFromFile, loading
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.structures import Annotations, Record
from detkit.structures.sample import Sample
from detkit.utils.rng import keyed_rng


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)


def test_rgb(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'ä.png')
    assert (read_image(str(tmp_path / 'ä.png')) == picture).all()


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', '1'])
def test_other_colour_modes_become_rgb(tmp_path, picture, mode):
    Image.fromarray(picture).convert(mode).save(tmp_path / 'a.png')
    assert read_image(str(tmp_path / 'a.png')).shape == (48, 64, 3)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_upright_by_exif(tmp_path, picture, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / 'a.jpg'
    Image.fromarray(picture).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    read = read_image(str(path))
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright).mean() < 3


@pytest.mark.parametrize(
    ('name', 'mode', 'options'),
    [('a.jpg', 'RGB', {}), ('a.jpg', 'L', {}), ('a.jpg', 'CMYK', {}), ('a.png', 'RGB', {}), ('a.png', 'RGBA', {})]
    + [('a.png', 'I;16', {}), ('a.bmp', 'RGB', {}), ('a.webp', 'RGB', {}), ('a.tif', 'RGBA', {}), ('a.gif', 'P', {})]
    + [('a.jpg', 'RGB', {'exif': 6}), ('\udce4.png', 'RGB', {})],
)
def test_large_images_are_decoded_as_others_are(name, mode, options, tmp_path, picture, monkeypatch):
    path = str(tmp_path / name)
    exif = Image.Exif()
    exif[274] = options.get('exif', 1)
    grey = picture[..., 0].astype(np.uint16) * 200
    image = Image.fromarray(grey) if mode == 'I;16' else Image.fromarray(picture).convert(mode)
    with open(path, 'wb') as file:
        image.save(file, {'jpg': 'jpeg', 'tif': 'tiff'}.get(path[-3:], path.rpartition('.')[2]), exif=exif)
    expected = read_image(path)
    monkeypatch.setattr(loading, '_LARGE', 100)
    monkeypatch.setattr(loading, '_STRIP', 7 * 64)
    assert (read_image(path) == expected).all()
    monkeypatch.setattr(loading, '_read_large', lambda file, flags: None)  # an old OpenCV, or one that cannot
    assert (read_image(path) == expected).all()


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.bmp'])
@pytest.mark.parametrize('missing', ['half', 'tail'])
def test_truncated_files(tmp_path, picture, suffix, missing):
    whole = cv2.imencode(suffix, picture)[1].tobytes()
    (tmp_path / f'whole{suffix}').write_bytes(whole)
    read_image(str(tmp_path / f'whole{suffix}'))
    (tmp_path / f'cut{suffix}').write_bytes(whole[: len(whole) // 2 if missing == 'half' else -8])
    with pytest.raises(UnreadableImageError, match='truncated'):
        read_image(str(tmp_path / f'cut{suffix}'))


def test_a_thumbnails_end_is_not_the_images(tmp_path, picture):
    """A JPEG whose header holds a whole JPEG, and whose own data end early."""
    data = cv2.imencode('.jpg', picture)[1].tobytes()
    thumbnail = b'\xff\xd8\xff\xd9'
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    whole = data[:2] + segment + data[2:]
    path = tmp_path / 'a.jpg'
    path.write_bytes(whole + b'trailing bytes of a camera')
    assert read_image(str(path)).shape == (48, 64, 3)
    path.write_bytes(whole[: len(whole) - 30])
    with pytest.raises(UnreadableImageError, match='truncated'):
        read_image(str(path))


@pytest.mark.parametrize('content, reason', [(None, 'cannot be opened'), (b'', 'is empty'), (b'hello', 'is no image')])
def test_other_unreadable_files(tmp_path, content, reason):
    path = tmp_path / 'a.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read_image(str(path))
    assert caught.value.path == str(path)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_a_size_that_the_annotations_contradict(tmp_path, picture):
    path = str(tmp_path / 'a.png')
    Image.fromarray(picture).save(path)
    results = Sample(Record(path, 0, (64, 48), Annotations()), keyed_rng(0))
    with pytest.raises(UnreadableImageError, match='is 64x48 pixels, but its annotations say 48x64'):
        LoadImageFromFile()(results)


def test_decoded_images_are_shared(tmp_path, picture):
    path = str(tmp_path / 'a.png')
    Image.fromarray(picture).save(path)
    results = Sample(Record(path, 0, None, Annotations()), keyed_rng(0))
    first = LoadImageFromFile()(results)
    assert first.scene.tiles[0].img is LoadImageFromFile()(results).scene.tiles[0].img
    assert first.ori_shape == (48, 64)
    with pytest.raises(ValueError, match='read-only'):  # the pixels of later samples, too
        first.scene.tiles[0].img[:9] = 0
