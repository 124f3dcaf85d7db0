"""Files on processors without the instructions of the one that they were made on."""

import io
import zipfile

import numpy as np
import pytest
import torch

from detkit.export.format import find_format
from detkit.export.formats import aotinductor
from detkit.utils.errors import CheckpointError
from detkit.utils.processors import processor_features

CPU = torch.device('cpu')


def whole_sums(activations):
    """A convolution of 3 x 3 and 8 channels in int8 whose every product is the largest there is: its result is 1."""
    onnx = pytest.importorskip('onnx')
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    steps = 255 if activations == np.uint8 else 127
    values = {
        'x_scale': np.float32(1 / steps),
        'x_zero': activations(0),
        'w_scale': np.float32(1 / 127 / 72),
        'w_zero': np.int8(0),
        'w': np.full((4, 8, 3, 3), 127, np.int8),
    }
    nodes = [
        helper.make_node('QuantizeLinear', ['images', 'x_scale', 'x_zero'], ['images_q']),
        helper.make_node('DequantizeLinear', ['images_q', 'x_scale', 'x_zero'], ['images_d']),
        helper.make_node('DequantizeLinear', ['w', 'w_scale', 'w_zero'], ['w_d']),
        helper.make_node('Conv', ['images_d', 'w_d'], ['sums'], kernel_shape=[3, 3]),
        helper.make_node('QuantizeLinear', ['sums', 'x_scale', 'x_zero'], ['sums_q']),
        helper.make_node('DequantizeLinear', ['sums_q', 'x_scale', 'x_zero'], ['y']),
    ]
    graph = helper.make_graph(
        nodes,
        'sums',
        [helper.make_tensor_value_info('images', onnx.TensorProto.FLOAT, [1, 8, 8, 8])],
        [helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)


@pytest.mark.parametrize('activations', [np.uint8, np.int8])
def test_products_in_int8_are_added_whole(activations, tmp_path):
    pytest.importorskip('onnxruntime')
    path = tmp_path / 'sums.onnx'
    path.write_bytes(whole_sums(activations).SerializeToString())
    session = find_format('onnx').open(path, CPU, 1)
    (found,) = session({'images': torch.ones(1, 8, 8, 8)}).values()
    torch.testing.assert_close(found, torch.ones(1, 4, 6, 6), atol=0.01, rtol=0)


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
