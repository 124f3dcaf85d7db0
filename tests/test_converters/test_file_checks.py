"""The checks that all converters make of a file; each of their errors names the file."""

import json
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from detr_files import published_state, small_detr, write_safetensors
from pickled_files import set_attribute, set_epsilon

from detkit.cli.convert import CONVERTERS
from detkit.converters import darknet, deim, detr, pickled_model, rfdetr, rtdetr, torchvision, yolox
from detkit.converters.any_file import load_foreign
from detkit.converters.common import Conversion
from detkit.converters.detr import load_detr
from detkit.converters.file_checks import names_the_file, stored_state
from detkit.converters.ultralytics import convert_ultralytics
from detkit.converters.weights_file import averaged_note, read_state
from detkit.engine.checkpoint import load_checkpoint
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.safetensors_file import read_safetensors

EXPECTED = {'a.weight': torch.zeros(2, 3), 'a.bias': torch.zeros(2), 'a.num_batches_tracked': torch.tensor(0)}


def test_tensors_are_stored_in_single_precision_and_in_the_model_s_order():
    tensors = {'a.num_batches_tracked': torch.tensor(7, dtype=torch.int32), 'a.bias': torch.ones(2).half()}
    found = stored_state({**tensors, 'a.weight': torch.ones(2, 3).double()}, EXPECTED, Path('x.pth'))
    assert [(name, value.dtype) for name, value in found.items()] == [
        ('a.weight', torch.float32),
        ('a.bias', torch.float32),
        ('a.num_batches_tracked', torch.int64),
    ]
    assert found['a.num_batches_tracked'] == 7


@pytest.mark.parametrize(
    ('wrong', 'expected'),
    [
        (torch.zeros(2, 3, dtype=torch.uint8), r'a\.weight is uint8 \(2, 3\) instead of float32 \(2, 3\)'),
        (torch.zeros(2, 3, dtype=torch.complex64), 'complex64'),
        (torch.zeros(3, 2), r'float32 \(3, 2\)'),
        (torch.full((2, 3), float('nan')), r'\(NaN\) in 1 of its 3 tensors \(a\.weight\)'),
    ],
    ids=['integers', 'complex', 'shape', 'nan'],
)
def test_tensors_of_another_kind_are_listed(wrong, expected):
    with pytest.raises(CheckpointError, match=rf'(?s)x\.pth .*{expected}'):
        stored_state({**EXPECTED, 'a.weight': wrong}, EXPECTED, Path('x.pth'))


def test_an_error_names_the_file():
    @names_the_file
    def convert(source, error):
        raise error

    with pytest.raises(CheckpointError, match=r'^in\.pth cannot be converted: embed_dims is 65'):
        convert('in.pth', ConfigError('embed_dims is 65'))
    with pytest.raises(CheckpointError, match=r'^in\.pth is none$'):
        convert(Path('in.pth'), CheckpointError('in.pth is none'))
    with pytest.raises(ValueError, match='^a fault$'):  # which is no mistake of a file
        convert('in.pth', ValueError('a fault'))


def test_every_converter_names_the_file():
    functions = [
        getattr(module, name)
        for module in (darknet, deim, detr, pickled_model, rfdetr, rtdetr, torchvision, yolox)
        for name in vars(module)
        if name.startswith(('load_', 'export_')) and getattr(module, name).__module__ == module.__name__
    ]
    assert len(functions) == 10 and len({CONVERTERS[name][1] for name in CONVERTERS}) == 9
    assert all(hasattr(function, '__wrapped__') for function in (*functions, load_foreign))


def test_weights_that_make_no_model_name_their_file(tmp_path):
    """Nothing beside them says the number of heads, and 2 heads fit no layers of masks."""
    path = write_safetensors(
        tmp_path / 'model.safetensors', published_state(small_detr(masks=True, num_heads=8), 'hugging_face')
    )
    with pytest.raises(CheckpointError, match=r'model\.safetensors cannot be converted: .*num_heads=2'):
        load_detr(path, CONFIGS)


def test_a_model_of_another_epsilon_names_its_file(write_ultralytics, tmp_path):
    path = write_ultralytics(change=set_epsilon(1e-5))
    with pytest.raises(CheckpointError, match=r'in\.pt has batch normalisations of eps 1e-05, .* have 0\.001'):
        convert_ultralytics(path, tmp_path / 'out.pth', CONFIGS)


def test_layers_that_hold_themselves_name_their_file(write_ultralytics, tmp_path):
    knot = torch.nn.Module()
    knot._modules['again'] = knot
    path = write_ultralytics(change=set_attribute('model.0', '_modules', {'knot': knot}))
    with pytest.raises(CheckpointError, match=r'in\.pt is damaged: it has more than 10,000 layers'):
        convert_ultralytics(path, tmp_path / 'out.pth', CONFIGS)


def test_tensors_that_are_not_plain_are_refused(tmp_path):
    path = tmp_path / 'x.pth'
    for tensor in (torch.zeros(1).expand(1 << 40), torch.eye(2).to_sparse()):
        torch.save({'class_embed.weight': tensor}, path, _use_new_zipfile_serialization=False)
        with pytest.raises(CheckpointError, match=r'x\.pth holds tensors that are not dense .*class_embed\.weight'):
            read_state(path)


@pytest.mark.parametrize(
    ('header', 'expected'),
    [
        ({'a': [0, 8], 'b': [0, 8]}, 'begins at 0, where the one before ends at 8'),
        ({'a': [0, 4], 'b': [8, 16]}, 'begins at 8, where the one before ends at 4'),
        ({'a': [0, 8]}, '16 bytes of tensors, of which 8 are described'),
    ],
    ids=['overlap', 'hole', 'rest'],
)
def test_safetensors_lie_in_a_row(tmp_path, header, expected):
    entries = {
        name: {'dtype': 'F32', 'shape': [(end - start) // 4], 'data_offsets': [start, end]}
        for name, (start, end) in header.items()
    }
    _write(tmp_path / 'x.safetensors', json.dumps(entries))
    with pytest.raises(CheckpointError, match=rf'x\.safetensors is damaged \(.*{expected}'):
        read_safetensors(tmp_path / 'x.safetensors')


def test_a_name_that_a_header_has_twice_is_refused(tmp_path):
    entry = '{"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}'
    _write(tmp_path / 'x.safetensors', f'{{"a": {entry}, "a": {entry}}}')
    with pytest.raises(CheckpointError, match="'a' is there twice"):
        read_safetensors(tmp_path / 'x.safetensors')


def test_a_data_type_that_models_have_not_is_named(tmp_path):
    _write(tmp_path / 'x.safetensors', '{"a": {"dtype": "F8_E4M3", "shape": [16], "data_offsets": [0, 16]}}')
    with pytest.raises(CheckpointError, match=r"such as 'a' of 'F8_E4M3'; save the weights as F32"):
        read_safetensors(tmp_path / 'x.safetensors')


def _write(path: Path, header: str) -> None:
    path.write_bytes(struct.pack('<Q', len(header)) + header.encode() + bytes(16))


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_names_of_a_wrapped_model_are_those_of_the_bare_one(prefix, tmp_path):
    state = published_state(small_detr(), 'original')
    torch.save({'model': {f'{prefix}{name}': value for name, value in state.items()}}, tmp_path / 'wrapped.pth')
    torch.save({'model': state}, tmp_path / 'bare.pth')
    wrapped, bare = (load_detr(tmp_path / f'{name}.pth', CONFIGS).state for name in ('wrapped', 'bare'))
    assert list(wrapped) == list(bare) and all(torch.equal(wrapped[name], bare[name]) for name in bare)


def test_names_of_a_model_with_a_compiled_part_are_those_of_the_bare_one(tmp_path):
    torch.save({'backbone._orig_mod.conv1.weight': torch.ones(1), 'module.weight': torch.ones(1)}, tmp_path / 'x.pth')
    assert list(read_state(tmp_path / 'x.pth')[1]) == ['backbone.conv1.weight', 'module.weight']


class Shadowed:
    """Pickled, it is an ``OrderedDict`` that has attributes in place of its methods."""

    def __init__(self, items, /, **attributes):
        self.reduced = OrderedDict, (list(items.items()),), attributes

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('method', ['get', 'items', 'values', 'keys'])
@pytest.mark.parametrize('place', ['content', 'weights', 'averages'])
def test_attributes_in_place_of_methods_are_left_out(tmp_path, place, method, zipped):
    attributes, weights = {method: 5, '_metadata': 5}, {'a': torch.ones(2)}
    content = {
        'content': Shadowed({'model': weights}, **attributes),
        'weights': {'model': Shadowed(weights, **attributes)},
        'averages': {'ema': Shadowed({'module': weights}, **attributes)},
    }[place]
    torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    assert list(read_state(tmp_path / 'x.pth')[1]) == ['a']


@pytest.mark.parametrize('place', ['content', 'meta', 'state_dict', 'tensor'])
def test_a_checkpoint_with_attributes_in_place_of_methods_opens(tmp_path, place):
    tensor = torch.nn.Parameter(torch.ones(2))
    tensor.is_complex = tensor.untyped_storage = 5
    meta = {'format': 'detkit', 'format_version': 1, 'classes': ['a']}
    content = {'meta': meta, 'state_dict': {'a': tensor if place == 'tensor' else torch.ones(2)}}
    if place in content:
        content[place] = Shadowed(content[place], get=5, items=5)
    elif place == 'content':
        content = Shadowed(content, get=5, items=5)
    torch.save(content, tmp_path / 'x.pth')
    found = load_checkpoint(tmp_path / 'x.pth')
    assert found.get('meta').get('classes') == ['a'] and found['state_dict'].items()
    assert not found['state_dict']['a'].is_complex()


@pytest.mark.parametrize('prefix', ['_orig_mod.', ''])
def test_two_tensors_of_one_name_are_refused_where_they_differ(tmp_path, prefix):
    torch.save({'model': {'a.b': torch.ones(1), f'a.{prefix}_orig_mod.b': torch.ones(1)}}, tmp_path / 'x.pth')
    assert list(read_state(tmp_path / 'x.pth')[1]) == ['a.b']
    torch.save({'model': {'a.b': torch.ones(1), f'a.{prefix}_orig_mod.b': torch.zeros(1)}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth cannot be converted: a\.b and a\._orig_mod.* are one parameter'):
        load_foreign(tmp_path / 'x.pth', CONFIGS)


@pytest.mark.parametrize('entry', ['ema_model', 'model_ema', 'ema_state_dict', 'ema'])
def test_averaged_weights_are_taken_and_said(tmp_path, entry):
    content = {'model': {'a': torch.ones(1)}, entry: {'module.a': torch.zeros(1)}}
    torch.save(content, tmp_path / 'x.pth')
    found, tensors = read_state(tmp_path / 'x.pth')
    assert tensors == {'a': torch.zeros(1)} and averaged_note(found) and not averaged_note({'model': {}, entry: {}})


def test_a_file_of_lightning_has_the_model_as_an_attribute(tmp_path):
    weights = {'model.a': torch.ones(1), 'model.b': torch.ones(1)}
    torch.save({'state_dict': weights, 'pytorch-lightning_version': '2.5'}, tmp_path / 'x.ckpt')
    assert list(read_state(tmp_path / 'x.ckpt')[1]) == ['a', 'b']
    torch.save({'state_dict': weights}, tmp_path / 'x.pth')
    assert list(read_state(tmp_path / 'x.pth')[1]) == ['model.a', 'model.b']


def test_what_is_no_plain_tensor_among_weights_is_named(tmp_path):
    for value in (np.ones(2), torch.ones(2).to_sparse(), torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)):
        torch.save({'model': {'a.weight': torch.ones(1), 'b.weight': value}}, tmp_path / 'x.pth')
        with pytest.raises(CheckpointError, match=r'x\.pth holds tensors that are not dense .*\(b\.weight\)'):
            read_state(tmp_path / 'x.pth')
    torch.save({'model': {'b.weight': torch.ones(1, dtype=torch.complex64)}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth holds b\.weight of a data type that no model has'):
        read_state(tmp_path / 'x.pth')


def test_a_file_without_weights_says_its_entries(tmp_path):
    torch.save({'params': {'a': torch.ones(1)}, 'epoch': 3}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'under model or state_dict or .* \(its entries are params, epoch\)'):
        read_state(tmp_path / 'x.pth')


def test_numbers_beyond_single_precision_are_refused_and_infinite_ones_said(tmp_path):
    huge = torch.full((2, 3), 1e300, dtype=torch.float64)
    with pytest.raises(CheckpointError, match=r'(?s)x\.pth .*a\.weight has numbers .* does not reach, 1e\+300'):
        stored_state({**EXPECTED, 'a.weight': huge}, EXPECTED, Path('x.pth'))
    state = stored_state({**EXPECTED, 'a.weight': torch.full((2, 3), torch.inf).half()}, EXPECTED, Path('x.pth'))
    lines = Conversion(state, None, '', {}).save(tmp_path / 'out.pth')
    assert lines[0].startswith('note     infinite numbers in 1 of 3 tensors (a.weight)')


@pytest.mark.parametrize('zipped', [True, False])
def test_weights_that_hold_themselves_are_refused(tmp_path, zipped):
    content = {'ema': {}, 'model': {}}
    content['ema']['ema'] = content['ema']['module'] = content['ema']
    content['model']['model'] = content
    torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r'x\.pth holds no weights by name'):
        read_state(tmp_path / 'x.pth')
