"""Devices by name, and what is said of those that are none."""

import pytest
import torch

from detkit import Detector
from detkit.engine import train_from_config
from detkit.inference import Predictor
from detkit.utils.device import check_device
from detkit.utils.errors import ConfigError


def test_a_device_that_is_there():
    assert check_device('cpu') == torch.device('cpu')


@pytest.mark.parametrize(
    ('device', 'hint'),
    [
        ('0', "; a GPU is 'cuda:0'"),
        ('1,2', "; a GPU is 'cuda:1'; several train with torchrun, see docs/distributed.md"),
        ([0], "; a GPU is 'cuda:0'"),
        ('warp', ''),
        (1.5, ''),
        ({}, ''),
    ],
)
def test_a_device_as_other_toolboxes_write_it_is_answered_with_the_word(device, hint):
    with pytest.raises(ConfigError) as refused:
        check_device(device)
    text = str(refused.value)
    assert text.startswith(f"device '{device}' cannot be used here: ")
    assert text.endswith(hint) and ("'cuda:" in text) == bool(hint)


@pytest.fixture(params=[torch.float64, torch.bfloat16])
def other_default(request):
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(torch.float32)


def test_another_default_type_is_refused_with_the_remedy(other_default):
    sentence = f'the default type of PyTorch is {other_default}, .*call torch.set_default_dtype.torch.float32. first'
    for use in (check_device, lambda _: Detector('yolov8/det_n_coco8'), lambda _: Detector('a.pt', device='cpu')):
        with pytest.raises(ConfigError, match=sentence):
            use('cpu')
    with pytest.raises(ConfigError, match=sentence):
        train_from_config('yolov8/det_n_coco8', {'work_dir': 'never'}, device='cpu')


def test_a_type_that_is_set_after_opening_is_refused():
    model = Detector('yolov8/det_n_coco8', device='cpu').model
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ConfigError, match='the default type of PyTorch is torch.float64'):
            Predictor(model=model)
    finally:
        torch.set_default_dtype(torch.float32)
