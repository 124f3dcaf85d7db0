"""Images of every mode become RGB: grey, with transparency, palettes, 16 bits, CMYK."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.datasets import ImageFolderDataset
from detkit.datasets.image_files import list_images, read_image_size, unread_images
from detkit.datasets.transforms.loading import UnreadableImageError, read_image

SHAPE = (40, 50)


def colours() -> np.ndarray:
    """A smooth picture, so that JPEG changes little."""
    return cv2.resize(np.random.default_rng(0).integers(40, 216, (3, 4, 3), np.uint8), SHAPE[::-1])


def transparent(image: Image.Image) -> Image.Image:
    image.putalpha(Image.fromarray(np.tile(np.arange(SHAPE[1], dtype=np.uint8) * 5, (SHAPE[0], 1))))
    return image


def sixteen_bits(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.uint16) * 257


RGB = Image.fromarray(colours())
GREY = RGB.convert('L')
# file name -> (what is written, what it shows, largest difference)
MODES = {
    'grey.png': (GREY, GREY, 0),
    'grey.jpg': (GREY, GREY, 8),
    'grey_transparent.png': (transparent(RGB.convert('LA')), GREY, 0),
    'grey16.png': (Image.fromarray(sixteen_bits(GREY)), GREY, 0),
    'grey16.tif': (Image.fromarray(sixteen_bits(GREY)), GREY, 0),
    'bilevel.png': (
        GREY.point(lambda value: 255 * (value > 128)).convert('1'),
        GREY.point(lambda value: 255 * (value > 128)),
        0,
    ),
    'rgba.png': (transparent(RGB.copy()), RGB, 0),
    'rgba.tif': (transparent(RGB.copy()), RGB, 0),
    'grey_transparent.tif': (transparent(RGB.convert('LA')), GREY, 0),
    'rgba.webp': (transparent(RGB.copy()), RGB, 0),
    'rgb16.png': (sixteen_bits(RGB), RGB, 0),
    'rgb16.tif': (sixteen_bits(RGB), RGB, 0),
    'palette.png': (RGB.quantize(64), RGB.quantize(64).convert('RGB'), 0),
    'palette.bmp': (RGB.quantize(64), RGB.quantize(64).convert('RGB'), 0),
    'gif.gif': (RGB.quantize(64), RGB.quantize(64).convert('RGB'), 0),
    'float.tif': (colours().astype(np.float32) / 255, RGB, 0),
    'portable.ppm': (RGB, RGB, 0),
    'jpeg.jfif': (RGB, RGB, 14),
    'jpeg2000.jp2': (RGB, RGB, 12),
    'cmyk.jpg': (RGB.convert('CMYK'), RGB, 12),
    'cmyk.tif': (RGB.convert('CMYK'), RGB, 2),
}


def write(path: Path, content: Image.Image | np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):  # Pillow has no RGB of 16 bits
        cv2.imwrite(str(path), content[..., ::-1])
    else:
        content.save(path, **({'lossless': True, 'exact': True} if path.suffix == '.webp' else {'quality': 98}))


@pytest.mark.parametrize('name', MODES)
def test_modes(tmp_path, name):
    content, shown, tolerance = MODES[name]
    write(tmp_path / name, content)
    img = read_image(str(tmp_path / name))
    assert img.shape == (*SHAPE, 3) and img.dtype == np.uint8
    assert np.abs(img.astype(int) - np.asarray(shown.convert('RGB'))).max() <= tolerance
    assert read_image_size(str(tmp_path / name)) == SHAPE


def test_transparency_does_not_change_how_a_tiff_is_turned(tmp_path):
    for turn in range(1, 9):
        for name, image in (('opaque', RGB), ('alpha', transparent(RGB.copy()))):
            image.save(tmp_path / f'{name}.tif', tiffinfo={274: turn})
        opaque, alpha = (str(tmp_path / f'{name}.tif') for name in ('opaque', 'alpha'))
        assert (read_image(opaque) == read_image(alpha)).all() and read_image_size(alpha) == read_image(alpha).shape[:2]


def test_decoders_print_nothing_about_deep_tiffs(tmp_path, capfd):
    for number, kind in enumerate((np.float32, np.int32)):
        Image.fromarray(np.asarray(GREY).astype(kind)).save(tmp_path / f'{number}.tif')
        assert (read_image(str(tmp_path / f'{number}.tif')) == np.asarray(GREY)[..., None]).all()
    assert capfd.readouterr() == ('', '')


def test_deep_pixels(tmp_path):
    """12 bits stored in 16 fill the range; fractions are taken from [0, 1]; what is no number is black."""
    ramp = np.linspace(0, 255, 50).round().astype(np.uint8)[None].repeat(40, 0)
    cv2.imwrite(str(tmp_path / '12.png'), ramp.astype(np.uint16) * 16)
    cv2.imwrite(str(tmp_path / '8.png'), ramp.astype(np.uint16))
    Image.fromarray(ramp.astype(np.float32) / 255).save(tmp_path / 'fraction.tif')
    Image.fromarray(np.where(ramp == 0, np.nan, ramp).astype(np.float32)).save(tmp_path / 'whole.tif')
    for name in ('12.png', '8.png', 'fraction.tif', 'whole.tif'):
        assert (read_image(str(tmp_path / name)) == ramp[..., None]).all(), name


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'is empty'),
        (b'hello', 'OpenCV or Pillow'),
        (b'\xff\xd8\xff\xd9', 'OpenCV or Pillow'),
        (None, 'no regular'),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, reason):
    path = tmp_path / 'x.jpg'
    os.mkfifo(path) if content is None else path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f'x.jpg: .*{reason}'):
        read_image(str(path))
    with pytest.raises(OSError, match='.'):
        read_image_size(str(path))


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new('1', (3000, 2000)).save(tmp_path / 'large.png')
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(
        UnreadableImageError, match='3000x2000 pixels, more than max_pixels=5,999,999.*raise max_pixels'
    ):
        read_image(str(tmp_path / 'large.png'), 5_999_999)


def test_the_header_of_any_size_is_read(tmp_path):
    """Pillow alone refuses it; whether it is decoded is decided later."""
    data = bytearray(b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sIIBBBBB', 13, b'IHDR', 32000, 32000, 1, 0, 0, 0, 0))
    data += struct.pack('>I', zlib.crc32(data[12:29]))
    for kind, content in ((b'IDAT', zlib.compress(b'')), (b'IEND', b'')):
        data += struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    (tmp_path / 'a.png').write_bytes(data)
    assert read_image_size(str(tmp_path / 'a.png')) == (32000, 32000)


def test_kinds_that_are_not_read_are_counted(tmp_path):
    write(tmp_path / 'a.JPG', RGB)
    for name in ('b.heic', 'c.jxl', 'd.txt', '.e.heic'):
        (tmp_path / name).write_bytes(b'x')
    assert list_images(tmp_path) == [str(tmp_path / 'a.JPG')]
    assert [os.path.basename(skip.path) for skip in unread_images(tmp_path)] == ['b.heic', 'c.jxl']


def test_a_link_to_its_own_folder_adds_nothing(tmp_path):
    write(tmp_path / 'a' / 'one.png', RGB)
    (tmp_path / 'a' / 'again').symlink_to(tmp_path / 'a')
    assert list_images(tmp_path) == [str(tmp_path / 'a' / 'one.png')]


def test_a_folder_of_mixed_modes_gives_samples(tmp_path):
    for number, (name, (content, _, _)) in enumerate(MODES.items()):
        write(tmp_path / 'train' / ('even', 'odd')[number % 2] / name, content)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='CenterCrop', size=32),
        dict(type='Render'),
        dict(type='PackInputs'),
    ]
    dataset = ImageFolderDataset(data_root=str(tmp_path), pipeline=pipeline)
    samples = dataset.__getitems__(range(len(MODES)))
    assert len(samples) == len(MODES) and 'skipped' not in samples[0]
    assert all(sample['inputs'].shape == (3, 32, 32) for sample in samples)
