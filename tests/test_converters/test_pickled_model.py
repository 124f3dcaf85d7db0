"""What the converters of ultralytics' and YOLOv5's files have in common."""

from __future__ import annotations

import pytest
import torch
from conversions import CONFIGS, converted, error_of, same_weights
from pickled_files import Evil, fold_normalisation

from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.yolov5 import convert_yolov5
from detkit.utils.errors import CheckpointError

CONVERTERS = {'ultralytics': convert_ultralytics, 'yolov5': convert_yolov5}


@pytest.fixture(params=CONVERTERS)
def project(request) -> str:
    return request.param


@pytest.fixture
def convert(project):
    return CONVERTERS[project]


@pytest.fixture
def write_narrow(request, project):
    return request.getfixturevalue(f'write_{project}')


def test_the_same_file_gives_the_same_bytes(convert, write_narrow, tmp_path):
    source = write_narrow()
    (tmp_path / 'elsewhere').mkdir()
    for target in ('first.pth', 'elsewhere/second.pth', 'first.pth'):
        converted(convert, source, tmp_path / target)
    assert (tmp_path / 'first.pth').read_bytes() == (tmp_path / 'elsewhere/second.pth').read_bytes()


def test_nothing_of_a_file_is_run(project, convert, write_narrow, tmp_path):
    expected, _ = converted(convert, write_narrow())
    evil = Evil(tmp_path / 'victim')
    more, attributes = {
        'ultralytics': ({'train_args': evil}, {'args': evil}),
        'yolov5': ({'optimizer': evil}, {'hyp': evil, 'yaml': evil}),
    }[project]
    checkpoint, _ = converted(convert, write_narrow('evil.pt', more=more, attributes=attributes))
    assert same_weights(checkpoint, expected)
    error_of(convert, write_narrow('worse.pt', attributes={'names': evil, 'yaml': evil}))
    assert not evil.path.exists()
    torch.save(evil, tmp_path / 'harm.pt')
    torch.load(tmp_path / 'harm.pt', weights_only=False)
    assert evil.path.exists()  # the object does harm where it is trusted


def test_folded_normalisation_is_refused(convert, write_narrow):
    message = error_of(convert, write_narrow(change=fold_normalisation))
    assert 'folded into the convolutions' in message and 'in.pt' in message and '\n' not in message


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        ({'a.weight': torch.zeros(2), 'a.bias': torch.zeros(2)}, 'a plain state dict'),
        ({'model': {'a.weight': torch.zeros(2)}}, 'a plain state dict'),
        ({'model': None, 'ema': None}, 'holds no model (its entries are model, ema)'),
        ({}, 'holds no model (its entries are none)'),
        ([1, 2], 'holds a list alone'),
        (torch.zeros(2), 'holds a tensor alone'),
        (torch.nn.Linear(2, 2), 'holds a Linear alone'),
        ({'meta': {'format': 'detkit'}, 'state_dict': {}}, 'a checkpoint of detkit'),
        ({'model': torch.nn.Linear(2, 2)}, 'a torch.nn.modules.linear.Linear, no YOLOv'),
    ],
)
def test_other_content_is_one_clear_sentence(convert, tmp_path, content, expected):
    torch.save(content, tmp_path / 'in.pt')
    message = error_of(convert, tmp_path / 'in.pt')
    assert expected in message and '\n' not in message


def test_paths_are_checked(convert, write_narrow):
    source = write_narrow()
    with pytest.raises(CheckpointError, match='give another name'):
        convert(source, source, CONFIGS)
    with pytest.raises(CheckpointError, match='is missing'):
        convert(source, source.with_suffix('.pth'), CONFIGS / 'none')


def test_another_project_is_named(project, convert, request):
    """A file of one project names the converter of the other."""
    (other,) = set(CONVERTERS) - {project}
    source = request.getfixturevalue(f'write_{other}')()
    message = error_of(convert, source)
    assert f'detkit convert {other}' in message and '\n' not in message
