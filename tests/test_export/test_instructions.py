"""Files on processors without the instructions of the one that they were made on."""

import io
import zipfile

import pytest
import torch

from detkit.export.format import find_format
from detkit.export.formats import aotinductor
from detkit.utils.errors import CheckpointError
from detkit.utils.processors import processor_features

CPU = torch.device('cpu')


def test_compiled_code_is_refused_on_a_processor_without_its_instructions(tmp_path, monkeypatch):
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as archive:
        archive.writestr('network/archive_format', 'pt2')
    fmt, path = find_format('aotinductor'), tmp_path / 'network.aoti.pt2'
    here = processor_features() or {'avx2'}
    monkeypatch.setattr(aotinductor.platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(aotinductor, 'processor_features', lambda: {*here, 'avx512f', 'avx512_bf16', 'avx9', 'ht9'})
    fmt.write(content.getvalue(), '{}', path)
    monkeypatch.setattr(aotinductor, 'processor_features', lambda: here - {'avx512f', 'avx512_bf16'})
    with pytest.raises(CheckpointError, match=r'with avx512_bf16, avx512f, avx9, which this one has not: export'):
        fmt.open(path, CPU, 1)
    monkeypatch.setattr(aotinductor, 'processor_features', lambda: {*here, 'avx512f', 'avx512_bf16', 'avx9'})
    with pytest.raises(CheckpointError, match='cannot be loaded'):  # as it holds no code
        fmt.open(path, CPU, 1)


@pytest.mark.parametrize('content', ['{', '3', '[[]]'])
def test_a_damaged_list_of_instructions_is_refused(content, tmp_path):
    path = tmp_path / 'network.aoti.pt2'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('network/extra/detkit_processor.json', content)
    with pytest.raises(CheckpointError, match='is damaged: what it says of its processor'):
        find_format('aotinductor').open(path, CPU, 1)
