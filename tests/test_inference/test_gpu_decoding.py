"""Decoding by torchvision, which decodes on a GPU, here on the CPU: what goes there, and how it differs."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from small_models import write_shallow_checkpoint
from test_reduced_decoding import SHAPE, jpeg

from detkit.inference import Predictor, SourceImage
from detkit.inference.gpu_decoding import jpeg_decoder
from detkit.utils.errors import ConfigError, DataError

pytest.importorskip('torchvision')


@pytest.fixture
def decoded(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of what torchvision has decoded."""
    import torchvision.io

    own, shapes = torchvision.io.decode_jpeg, []

    def decode(*args, **kwargs):
        img = own(*args, **kwargs)
        shapes.append(tuple(img.shape))
        return img

    monkeypatch.setattr(torchvision.io, 'decode_jpeg', decode)
    return shapes


@pytest.mark.parametrize('orientation', [1, 6])
def test_a_jpeg_is_that_of_the_cpu_within_some_levels(orientation, decoded):
    image = SourceImage('image0', jpeg(orientation))
    found, expected = image.read_with(jpeg_decoder(torch.device('cpu')), 10**6), image.read()
    assert found.shape == expected.shape and found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.abs(found.astype(int) - expected).max() <= 4
    assert decoded == [(3, 16, 16)] + [(3, *SHAPE)] * (orientation == 1), 'turned images are decoded on the CPU'


def test_what_the_device_refuses_is_decoded_by_the_cpu(decoded):
    decode = jpeg_decoder(torch.device('cpu'))
    for mode, suffix in (('L', 'JPEG'), ('CMYK', 'JPEG'), ('RGB', 'PNG')):
        file = BytesIO()
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).convert(mode).save(file, suffix)
        image = SourceImage('image0', file.getvalue())
        assert np.abs(image.read_with(decode, 10**6).astype(int) - image.read()).max() <= 2
    array = SourceImage('image0', np.zeros((4, 4, 3), np.uint8))
    assert array.read_with(decode, 10**6) is array.content


@pytest.mark.parametrize(
    ('data', 'message'), [(jpeg()[:900], 'truncated'), (b'', 'empty'), (b'\xff\xd8\xff', 'image0'), (jpeg(), 'pixels')]
)
def test_errors_are_those_of_the_cpu(data, message):
    decode = jpeg_decoder(torch.device('cpu'))
    with pytest.raises(DataError, match=message) as error:
        SourceImage('image0', data).read_with(decode, 10**4)
    with pytest.raises(DataError) as other:
        SourceImage('image0', data).read(10**4)
    assert str(error.value) == str(other.value)


def test_without_a_gpu_a_sentence_says_so(tmp_path, caplog):
    checkpoint = write_shallow_checkpoint(tmp_path / 'seg.pth', 'seg')
    predictor = Predictor(None, checkpoint, device='cpu', img_size=64, gpu_decoding=True)
    assert 'gpu_decoding has no effect, images are decoded on the CPU: the model is on cpu' in caplog.text
    (found,) = predictor([SourceImage('image0', jpeg()).read()])
    (expected,) = Predictor(None, checkpoint, device='cpu', img_size=64)([SourceImage('image0', jpeg()).read()])
    assert torch.equal(found.pred_instances.bboxes, expected.pred_instances.bboxes)
    with pytest.raises(ConfigError, match='leave one of them out'):
        Predictor(None, checkpoint, gpu_decoding=True, reduced_decoding=True)


@pytest.mark.parametrize('missing', [True, False], ids=['package', 'device'])
def test_where_torchvision_cannot_a_sentence_says_why(missing, monkeypatch):
    if missing:
        monkeypatch.setitem(__import__('sys').modules, 'torchvision.io', None)
        assert jpeg_decoder(torch.device('cpu')).startswith('torchvision cannot be imported')
    elif not torch.cuda.is_available():
        assert jpeg_decoder(torch.device('cuda')).startswith('torchvision decodes none on cuda (')


@pytest.mark.gpu
def test_a_gpu_decodes_within_some_levels():
    decode = jpeg_decoder(torch.device('cuda'))
    assert not isinstance(decode, str), decode
    image = SourceImage('image0', jpeg())
    assert np.abs(image.read_with(decode, 10**6).astype(int) - image.read()).max() <= 8
