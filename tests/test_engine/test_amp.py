"""Mixed precision on processors with and without bf16: what is said of it."""

import logging

import pytest
import torch
from small_models import write_images, write_shallow_checkpoint

from detkit.engine import amp
from detkit.inference import Predictor

CPU = torch.device('cpu')


@pytest.fixture
def without_bf16(monkeypatch):
    monkeypatch.setattr(amp, 'cpu_has_bf16', lambda: False)
    amp._warn_once.cache_clear()


def test_what_saves_no_time_is_said(without_bf16, monkeypatch):
    assert amp.amp_note(False, CPU) is None
    assert amp.amp_note(True, torch.device('cuda')) is None
    assert amp.amp_note(True, CPU) == amp.amp_note('bf16', CPU, is_exported=True)
    assert 'amp has no effect' in amp.amp_note(True, CPU) and 'far slower' in amp.amp_note('bf16', CPU)
    monkeypatch.setattr(amp, 'cpu_has_bf16', lambda: True)
    assert amp.amp_note(True, CPU) is None and amp.amp_note('bf16', CPU) is None


@pytest.mark.parametrize(('value', 'text'), [(True, 'amp has no effect'), ('bf16', 'far slower than float32')])
def test_a_predictor_says_it_once(value, text, without_bf16, tmp_path, caplog):
    checkpoint = write_shallow_checkpoint(tmp_path / 'seg.pth')
    image = str(write_images(tmp_path / 'images', 1)[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert len(Predictor(None, checkpoint, device='cpu', img_size=32, amp=value).predict(image)) == 1
    assert caplog.text.count(text) == 1
