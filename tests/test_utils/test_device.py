"""Devices by name, and what is said of those that are none."""

import pytest
import torch

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
