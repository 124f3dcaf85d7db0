"""Detectors are opened without drawing the weights that a checkpoint replaces."""

from pathlib import Path

import pytest
import torch
from small_models import write_checkpoint

from detkit.inference import init_detector
from detkit.inference.model import _build_to_be_filled
from detkit.registry import DETECTORS


def test_weights_of_a_checkpoint_replace_none_that_are_drawn(tmp_path: Path):
    checkpoint = write_checkpoint(tmp_path / 'det.pth', 'det')
    torch.manual_seed(0)
    state = torch.get_rng_state()
    init_detector(None, checkpoint, 'cpu')
    assert torch.equal(torch.get_rng_state(), state)


def test_a_parameter_that_no_checkpoint_holds_has_its_initial_value(monkeypatch: pytest.MonkeyPatch):
    class KeepsAConstant(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)
            self.constant = torch.nn.Parameter(torch.zeros(3))
            torch.nn.init.constant_(self.constant, 3.0)

    monkeypatch.setitem(DETECTORS.module_dict, 'KeepsAConstant', KeepsAConstant)
    weights = torch.nn.Linear(2, 2).state_dict(prefix='layer.')
    assert _build_to_be_filled(dict(type='KeepsAConstant'), weights, 'a.pth').constant.eq(3).all()
    weights['constant'] = torch.ones(3)
    assert _build_to_be_filled(dict(type='KeepsAConstant'), weights, 'a.pth').constant.eq(0).all()
