"""Int8: what stays in float, the pictures that calibrate it, its file, and the table of its accuracy."""

import numpy as np
import pytest
import torch
from every_task import write_task
from small_models import write_images
from test_export_command import run, write_data

from detkit.api import Detector
from detkit.export.exporting import ExportError
from detkit.export.format import find_format
from detkit.export.formats.openvino import OpenVinoFormat, _padded_means
from detkit.export.quantization import Node, float_nodes, is_matrix, quantised
from detkit.models.necks.lite_encoder import LiteEncoder
from detkit.utils.errors import ConfigError


def test_all_behind_the_last_layers_and_these_stay_in_float():
    nodes = {
        'stem': Node(('images',), True),
        'act': Node(('stem',), False),
        'boxes': Node(('act',), True),
        'bins': Node(('boxes',), False),
        'scores': Node(('act',), True),
        'joined': Node(('bins', 'scores'), False),
    }
    assert set(float_nodes(nodes, ['joined'])) == {'joined', 'bins', 'boxes', 'scores'}
    decoder = {
        'rank': Node(('act',), True),
        'best': Node(('rank',), False, selects=True),
        'queries': Node(('act', 'best'), True),
        'points': Node(('queries',), True),
        'values': Node(('act',), True),
        'sampled': Node(('values', 'points'), False),
        'boxes': Node(('sampled',), True),
    }
    # The values of the maps, which no selection precedes, are quantised.
    assert set(float_nodes({**nodes, **decoder}, ['boxes'])) == {
        'rank',
        'best',
        'queries',
        'points',
        'sampled',
        'boxes',
        'bins',
        'joined',
    }
    assert is_matrix((8, 3, 1, 1)) and not is_matrix((16, 1)) and not is_matrix(())


def test_means_with_counted_padding_stay_in_float_in_openvino(monkeypatch):
    openvino = pytest.importorskip('openvino')
    ops = openvino.opset13
    images = ops.parameter([1, 3, 8, 8], np.float32, name='images')
    means = {
        'padded': ops.avg_pool(images, [2, 2], [1, 1], [1, 1], [3, 3], False),
        'padding does not count': ops.avg_pool(images, [2, 2], [1, 1], [1, 1], [3, 3], True),
        'no padding': ops.avg_pool(images, [2, 2], [0, 0], [0, 0], [2, 2], False),
    }
    layers = []
    for name, mean in means.items():
        mean.set_friendly_name(name)
        layers.append(ops.convolution(mean, np.ones((3, 3, 1, 1), np.float32), [1, 1], [0, 0], [0, 0], [1, 1]))
    model = openvino.Model(layers, [images])
    monkeypatch.setattr('detkit.export.formats.openvino.quantised', lambda network, inputs, kept: kept)
    kept, half = OpenVinoFormat().quantise((model, False), [])
    assert not half and set(kept) & set(means) == {'padded'}
    # The encoder of the smallest DEIMv2 has such a pooling.
    halve = LiteEncoder([8], [16], 8).halve
    assert len(_padded_means(openvino.convert_model(halve, example_input=torch.zeros(1, 8, 4, 4)))) == 1


def network_of_largest_sums():
    """Three convolutions of 3 x 3 and 8 channels whose weights and inputs are all as large as can be: each gives 1."""
    onnx = pytest.importorskip('onnx')
    helper = onnx.helper
    nodes, last = [], 'images'
    for i in range(3):
        nodes.append(helper.make_node('Conv', [last, f'weights{i}'], [f'sums{i}'], f'conv{i}', kernel_shape=[3, 3]))
        nodes.append(helper.make_node('Relu', [f'sums{i}'], [last := f'act{i}'], f'relu{i}'))
    graph = helper.make_graph(
        nodes,
        'sums',
        [helper.make_tensor_value_info('images', onnx.TensorProto.FLOAT, [1, 8, 16, 16])],
        [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, [1, 8, 10, 10])],
        [onnx.numpy_helper.from_array(np.full((8, 8, 3, 3), 1 / 72, np.float32), f'weights{i}') for i in range(3)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)


@pytest.mark.parametrize('name', ['onnx', 'openvino'])
def test_sums_of_products_in_int8_are_whole_on_every_processor(name, tmp_path):
    """Without VNNI two products are added in 16 bits."""
    pytest.importorskip('nncf')
    pytest.importorskip('onnxruntime' if name == 'onnx' else name)
    fmt, path, network = find_format(name), tmp_path / 'sums', network_of_largest_sums()
    path = path.with_suffix(fmt.suffix)
    if name == 'openvino':
        find_format('onnx').write(network, '', tmp_path / 'sums.onnx')
        network = pytest.importorskip('openvino').convert_model(str(tmp_path / 'sums.onnx'))
    images = torch.ones(1, 8, 16, 16)
    network = quantised(network, [{'images': images.numpy()}] * 4, ())
    fmt.write(network if name == 'onnx' else (network, False), '', path)
    (found,) = fmt.open(path, torch.device('cpu'), 1)({'images': images}).values()
    torch.testing.assert_close(found, torch.ones(1, 8, 10, 10), atol=0.03, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize('task', ['yolov8 seg', 'detr det'])
def test_onnx_in_int8_keeps_its_last_layers_in_float(task, tmp_path):
    pytest.importorskip('nncf')
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    path = write_task(tmp_path / 'best.pth', task, 64)
    write_images(tmp_path / 'pictures', 5)
    # Random weights have wide ranges.
    settings = dict(int8=True, calibration=[tmp_path / 'pictures'], img_size=64, dynamic=False)
    try:
        made = Detector(path, device='cpu').export('onnx', images=tmp_path / 'pictures', tolerance=100, **settings)
    except ExportError:
        made = tmp_path / 'best.failed.onnx'
    nodes = onnx.load(made).graph.node
    makers = {output: node for node in nodes for output in node.output}
    assert sum(node.op_type == 'QuantizeLinear' for node in nodes) > 20
    layers = [node for node in nodes if node.op_type in ('Conv', 'Gemm', 'MatMul') and 'head' in node.name]
    quantised = [makers[n.input[0]].op_type == 'DequantizeLinear' for n in layers if n.input[0] in makers]
    assert any(quantised) and not all(quantised)
    assert np.isfinite(Detector(made)(tmp_path / 'pictures')[0].scores).all()


@pytest.mark.parametrize('task', ['yolov8 det', pytest.param('detr det', marks=pytest.mark.slow)])
def test_a_file_in_int8_says_so_and_is_tested_beside_the_model(task, tmp_path, capsys):
    pytest.importorskip('nncf')
    openvino = pytest.importorskip('openvino')
    path = write_task(tmp_path / 'best.pth', task, 64)
    write_images(tmp_path / 'pictures', 5)
    data = write_data(tmp_path / 'data') / 'data.yaml'
    made = Detector(path, device='cpu').export(
        'openvino',
        int8=True,
        calibration=[tmp_path / 'pictures'],
        img_size=64,
        dynamic=False,
        tolerance=100,
        data=data if task == 'yolov8 det' else None,
    )
    out = capsys.readouterr().out
    assert 'int8 is calibrated with 5 pictures; 100 or more give better ranges' in out
    assert 'checked on 5 images' in out  # those of the calibration
    assert 'mean difference of what is found: boxes' in out
    assert 0 < Detector(made).model.description.difference['mean scores'] < 0.1
    assert task != 'yolov8 det' or ('| difference |' in out and 'bbox_mAP' in out)
    detector = Detector(made)
    assert detector.model.description.int8 and not detector.model.description.half
    operations = openvino.Core().read_model(made).get_ordered_ops()
    assert sum(node.get_type_name() == 'FakeQuantize' for node in operations) > 20
    last = [
        node
        for node in operations
        if 'WithoutBiases' in node.get_friendly_name() and '_branches' in node.get_friendly_name()
    ]
    for node in last:
        if node.get_friendly_name().split('/')[-2].endswith('.2'):
            assert node.input_value(0).get_node().get_type_name() != 'FakeQuantize'
    assert np.isfinite(detector(tmp_path / 'pictures')[0].scores).all()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(format='openvino', int8=True), 'int8 needs pictures .* by calibration'),
        (
            dict(format='openvino', int8=True, calibration='pictures'),
            'calibrated with 3 pictures, but needs 4, better 100',
        ),
        (dict(format='openvino', int8=True, half=True, calibration='pictures'), 'int8 and half do not go together'),
        (dict(format='openvino', int8=True, nms=True, calibration='pictures'), 'int8 and nms do not go together'),
        (
            dict(format='torchscript', int8=True, calibration='pictures'),
            'torchscript files are not written in int8: .* export to .*openvino',
        ),
        (dict(calibration='pictures'), 'calibration gives the pictures .* ask for int8 too'),
    ],
)
def test_what_int8_cannot_be_is_refused(settings, message, tmp_path, monkeypatch):
    pytest.importorskip('nncf')
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / 'pictures', 3)
    path = write_task(tmp_path / 'best.pth', 'yolov8 det', 64)
    with pytest.raises(ConfigError, match=message):
        Detector(path, device='cpu').export(img_size=64, **settings)


@pytest.mark.thorough
def test_a_side_given_at_the_command_line_is_that_of_the_test_too(tmp_path, capsys):
    pytest.importorskip('onnxruntime')
    path = write_task(tmp_path / 'best.pth', 'yolov8 det', 64, shallow=True)
    data = write_data(tmp_path / 'data') / 'data.yaml'
    words = ['export', str(path), '--data', str(data), '--img-size']
    assert run(*words[:-1]) == 0  # the model's own size, not that of the config for such data
    assert '| difference |' in capsys.readouterr().out
    assert run(*words, '64') == 0
    assert '| difference |' in capsys.readouterr().out
    assert run(*words, '64', '96') == 2
    assert 'tested in square images: give one side, or no data' in capsys.readouterr().err
