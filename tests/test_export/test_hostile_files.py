"""Files that are damaged, foreign or forged end in a sentence, and nothing of them is run or looked for elsewhere."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from small_models import write_images, write_shallow_checkpoint

from detkit.api import Detector
from detkit.export import open_exported
from detkit.export.description import MAX_DESCRIPTION
from detkit.utils.errors import CheckpointError, ConfigError, DetkitError

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """One model in every format that is installed here, by name."""
    folder = tmp_path_factory.mktemp('files')
    detector = Detector(write_shallow_checkpoint(folder / 'det.pth', 'det'), device='cpu')
    images = write_images(folder / 'images', 1)
    found = {}
    for name in ('onnx', 'openvino', 'torchscript', 'torch_export'):
        if name != 'openvino' or pytest.importorskip('openvino'):
            found[name] = detector.export(name, img_size=64, images=images)
    return found


def changed(path, target, change):
    """Write an ONNX file with another description, or another model."""
    model = onnx.load(path)
    (entry,) = [prop for prop in model.metadata_props if prop.key == 'detkit']
    description = json.loads(entry.value)
    entry.value = change(model, description) or json.dumps(description)
    target.write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize('name', ['onnx', 'openvino', 'torchscript', 'torch_export'])
@pytest.mark.parametrize('share', [0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file(name, share, files, tmp_path):
    content = files[name].read_bytes()
    path = tmp_path / files[name].name
    path.write_bytes(content[: int(len(content) * share)])
    if name == 'openvino':
        path.with_suffix('.bin').write_bytes(files[name].with_suffix('.bin').read_bytes())
    with pytest.raises(CheckpointError):
        open_exported(path, runtime=name)


def test_weights_of_openvino_that_are_truncated_or_missing(files, tmp_path):
    path = tmp_path / 'det.xml'
    path.write_bytes(files['openvino'].read_bytes())
    with pytest.raises(CheckpointError, match='det.bin is missing, which holds the weights'):
        Detector(path)
    weights = files['openvino'].with_suffix('.bin').read_bytes()
    path.with_suffix('.bin').write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match='is no file of OpenVINO, or is damaged|cannot load'):
        Detector(path)


@pytest.mark.parametrize('name', ['onnx', 'openvino', 'torchscript', 'torch_export'])
@pytest.mark.parametrize(
    'content', [b'', b'PK\x03\x04', b'<?xml version="1.0"?><a/>', b'\x80\x02}.', bytes(range(256)) * 40]
)
def test_another_file_of_that_name(name, content, files, tmp_path):
    path = tmp_path / f'other{files[name].suffix}'
    path.write_bytes(content)
    path.with_suffix('.bin').write_bytes(content)
    with pytest.raises(CheckpointError):
        open_exported(path, runtime=name)


def test_random_damage_is_a_sentence_or_does_no_harm(files, tmp_path):
    rng = np.random.default_rng(0)
    content = files['onnx'].read_bytes()
    image = np.zeros((64, 64, 3), np.uint8)
    refused = 0
    for number in range(40):
        damaged = np.frombuffer(content, np.uint8).copy()
        # The structure of the file lies at its ends, and weights between.
        places = rng.integers(0, len(content), 3) if number % 2 else len(content) - 1 - rng.integers(0, 3000, 3)
        damaged[places] = rng.integers(0, 256, 3)
        path = tmp_path / f'{number}.onnx'
        path.write_bytes(damaged.tobytes())
        try:
            list(Detector(path)(image))
        except DetkitError:
            refused += 1
        path.unlink()
    assert refused > 0


def test_a_foreign_onnx_file(tmp_path):
    x = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node('Relu', ['x'], ['y'])], 'g', [x], [y])
    onnx.save(onnx.helper.make_model(graph), tmp_path / 'foreign.onnx')
    with pytest.raises(CheckpointError, match='foreign.onnx was not exported by detkit: it holds no description'):
        Detector(tmp_path / 'foreign.onnx')


@pytest.mark.parametrize('location', ['../secret', '/etc/passwd', 'beside.bin', '..\\secret'])
def test_onnx_that_names_another_file(location, files, tmp_path):
    (tmp_path / 'secret').write_bytes(b'x' * 4096)

    def name_file(model, description):
        tensor = model.graph.initializer[0]
        tensor.ClearField('raw_data')
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key='location', value=location)

    (tmp_path / 'inner').mkdir()
    path = changed(files['onnx'], tmp_path / 'inner' / 'names.onnx', name_file)
    with pytest.raises(CheckpointError, match='keeps the tensor .* in another file'):
        Detector(path)


def test_onnx_that_names_another_file_deep_inside(files, tmp_path):
    def hide(model, description):
        tensor = onnx.TensorProto(name='deep', data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key='location', value='/etc/passwd')
        inner = onnx.helper.make_graph(
            [onnx.helper.make_node('Constant', [], ['c'], value=tensor)],
            'inner',
            [],
            [onnx.helper.make_tensor_value_info('c', 1, [1])],
        )
        condition = onnx.helper.make_tensor('t', onnx.TensorProto.BOOL, [], [True])
        model.graph.node.extend(
            [
                onnx.helper.make_node('Constant', [], ['cond'], value=condition),
                onnx.helper.make_node('If', ['cond'], ['out'], then_branch=inner, else_branch=inner),
            ]
        )

    with pytest.raises(CheckpointError, match="keeps the tensor 'deep' in another file"):
        Detector(changed(files['onnx'], tmp_path / 'deep.onnx', hide))


def set_key(key, value):
    def change(model, description):
        description[key] = value

    return change


def set_keys(**values):
    def change(model, description):
        description.update(values)

    return change


def with_huge_letterbox(model, description):
    kinds = ('LoadImageFromFile', 'LetterBox', 'Render', 'PackInputs')
    steps = [dict(type=kind, **(dict(size=10**6) if kind == 'LetterBox' else {})) for kind in kinds]
    dataset = dict(type='CocoDataset', ann_file='x.json', pipeline=steps)
    description['config'] += f'test_dataloader = {dict(dataset=dataset)!r}\n'
    description['size'] = None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            with_huge_letterbox,
            'cannot be used: the size of LetterBox is 1000000, but .* more than 268,435,456 pixels',
        ),
        (lambda model, d: 'x' * (MAX_DESCRIPTION + 1), 'characters, more than'),
        (lambda model, d: '[' * 100_000, 'cannot be read'),
        (lambda model, d: '{"kind": "detkit export"', 'cannot be read'),
        (lambda model, d: '[1]', "not of the kind 'detkit export'"),
        (lambda model, d: json.dumps({**d, 'version': 0}), 'its version is 0'),
        (lambda model, d: json.dumps({**d, 'version': 99}), 'has the export format 99, .* update detkit'),
        (lambda model, d: json.dumps({k: v for k, v in d.items() if k != 'classes'}), "has no 'classes'"),
        (set_key('classes', 'abc'), "'classes' is 'abc'"),
        (set_key('classes', ['a']), 'gives scores of 3 classes, but its description names 1'),
        (set_key('classes', []), None),
        (set_key('format', 'openvino'), "says that it is of the format 'openvino'"),
        (set_key('size', [64, -1]), "'size' is"),
        (set_key('size', [1 << 40, 64]), "'size' is"),
        (set_key('size', [60000, 60000]), 'its input has more than'),
        (set_key('batch_size', 0), "'batch_size' is '0'"),
        (set_key('batch_size', 1 << 30), "'batch_size' is"),
        (set_key('divisor', 0), "'divisor' is"),
        (set_key('divisor', 1 << 16), "'divisor' is"),
        (set_keys(size=None, batch_size=1 << 16, divisor=256), 'takes 65536 images of 768 x 768 at a time'),
        (set_key('outputs', ['bboxes', 'lost']), "gives no output 'lost'"),
        (set_key('outputs', ['bboxes']), 'can make no results'),
        (set_key('inputs', ['images', 'more']), "'inputs' is"),
        (set_key('input_type', 'int64'), "'input_type' is"),
        (set_key('suppression', {'score_thr': 2}), "'suppression' is"),
        (
            set_key('suppression', dict(score_thr=0.1, iou_thr=0.5, max_per_img=5, class_agnostic=False)),
            "no output 'labels'",
        ),
        (set_key('config', 'import os'), 'cannot be read'),
        (set_key('config', "model = __import__('os').system('touch pwned')"), 'holds more than plain values'),
        (set_key('config', "model = dict(type='os.system')"), None),
        (set_key('config', 'model = {}'), None),
        (set_key('config', 'model = 3'), None),
        (set_key('config', ''), 'has no model'),
        (set_key('keypoints', {'sigmas': 'x'}), "'keypoints' is"),
        (set_key('task', 'pose'), "no model of the task 'pose'"),
        (set_key('difference', {'bboxes': 'x'}), "'difference' is"),
    ],
)
def test_a_wrong_description(change, message, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = changed(files['onnx'], tmp_path / 'forged.onnx', change)
    with pytest.raises(DetkitError, match=message):
        list(Detector(path)(np.zeros((64, 64, 3), np.uint8)))
    assert sorted(each.name for each in tmp_path.iterdir()) == ['forged.onnx']


def test_a_config_that_describes_a_huge_model_costs_no_memory(files, tmp_path):
    def change(model, description):
        description['config'] = description['config'].replace('widen_factor=0.25', 'widen_factor=250')
        description['config'] = description['config'].replace("'widen_factor': 0.25", "'widen_factor': 250")

    path = changed(files['onnx'], tmp_path / 'huge.onnx', change)
    try:
        list(Detector(path)(np.zeros((64, 64, 3), np.uint8)))  # the head alone is used, which is made without memory
    except DetkitError as error:
        assert 'forged' in str(error) or 'damaged' in str(error) or 'config' in str(error)


@pytest.mark.parametrize('name', ['torchscript', 'torch_export'])
def test_a_description_in_an_archive_that_unpacks_to_much(name, files, tmp_path):
    path = tmp_path / f'bomb{files[name].suffix}'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('bomb/extra/detkit.json', b' ' * (1 << 25))
    with pytest.raises(CheckpointError, match='holds a description of'):
        open_exported(path, runtime=name)


@pytest.mark.parametrize('name', ['torchscript', 'torch_export'])
@pytest.mark.parametrize('runtime', [None, 'auto', 'onnx'])
def test_programs_are_opened_where_they_are_named_alone(name, runtime, files, monkeypatch):
    import torch

    def refuse(*args, **kwargs):
        raise AssertionError('it was loaded')

    monkeypatch.setattr(torch.jit, 'load', refuse)
    monkeypatch.setattr(torch.export, 'load', refuse)
    with pytest.raises((CheckpointError, ConfigError), match='may run code|is run by'):
        open_exported(files[name], runtime=runtime)


def test_folders_and_devices_in_place_of_a_file(tmp_path):
    (tmp_path / 'folder.onnx').mkdir()
    with pytest.raises(CheckpointError):
        Detector(tmp_path / 'folder.onnx')


def test_labels_that_the_description_does_not_name(tmp_path):
    detector = Detector(write_shallow_checkpoint(tmp_path / 'det.pth', 'det'), device='cpu')
    images = write_images(tmp_path / 'images', 1)
    whole = detector.export('onnx', img_size=64, nms=True, score_thr=0.01, images=images)
    labels = Detector(whole)(images[0])[0].labels
    assert max(labels) > 0
    forged = changed(whole, tmp_path / 'forged.onnx', set_key('classes', ['cat']))
    with pytest.raises(CheckpointError, match=r'gives the label [12], but its description names 1 classes'):
        list(Detector(forged)(images[0]))
