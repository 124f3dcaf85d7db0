"""Images of every mode become RGB: grey, with transparency, palettes, 16 bits, CMYK."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.datasets import ImageFolderDataset
from detkit.datasets.image_files import read_image_size
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
    'rgba.webp': (transparent(RGB.copy()), RGB, 0),
    'rgb16.png': (sixteen_bits(RGB), RGB, 0),
    'rgb16.tif': (sixteen_bits(RGB), RGB, 0),
    'palette.png': (RGB.quantize(64), RGB.quantize(64).convert('RGB'), 0),
    'palette.bmp': (RGB.quantize(64), RGB.quantize(64).convert('RGB'), 0),
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


def test_a_mode_that_cannot_be_shown_is_refused(tmp_path):
    path = tmp_path / 'float.tif'
    cv2.imwrite(str(path), colours().astype(np.float32) / 255)
    with pytest.raises(UnreadableImageError, match='float.tif: '):
        read_image(str(path))


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
