"""Damaged and forged files of a backbone's weights: loaded, or refused with a sentence."""

import pytest
import torch
from fuzz_strategies import AMOUNTS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st
from torch import nn

from detkit.models.backbones.pretrained import load_backbone, read_weights

MODEL = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
tensors = st.sampled_from(
    [
        torch.zeros(2),
        torch.zeros(()),
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        torch.ones(2).int(),
    ]
)
plain = values.filter(lambda value: 'inf' not in repr(value)) | tensors
states = replaced(dict(MODEL.state_dict()), plain)


@pytest.mark.parametrize('cases', AMOUNTS)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_contents(tmp_path, cases):
    path = tmp_path / 'x.pth'
    contents = st.one_of(
        states,
        states.map(lambda state: {'state_dict': state}),
        states.map(lambda state: {'model': {f'backbone.{name}': value for name, value in state.items()}}),
        replaced({'model': dict(MODEL.state_dict()), 'epoch': 1}, plain),
        plain,
    )

    def check(drawn: tuple[object, bool]) -> None:
        torch.save(drawn[0], path, _use_new_zipfile_serialization=drawn[1])
        load_backbone(MODEL, read_weights(path), str(path))

    run_fuzz(cases, st.tuples(contents, st.booleans()), check)


@pytest.mark.parametrize('cases', AMOUNTS)
@pytest.mark.filterwarnings('ignore::UserWarning')
def test_bytes(tmp_path, cases):
    path, files = tmp_path / 'x.pth', []
    for zipped in (True, False):
        torch.save(MODEL.state_dict(), path, _use_new_zipfile_serialization=zipped)
        files.append(path.read_bytes())

    def check(data: bytes) -> None:
        path.write_bytes(data)
        load_backbone(MODEL, read_weights(path), str(path))

    run_fuzz(cases, damaged(st.sampled_from(files)), check)
