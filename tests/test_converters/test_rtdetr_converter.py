"""Conversion of RT-DETR's and D-FINE's files: what comes out, which sizes are found, what is refused and how."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import converted, error_of
from coverings import slow_unless
from detr_files import write_safetensors
from parity import dfine_shapes, rtdetr_shapes
from parity.seeded import assert_matches
from torch import Tensor, nn

from detkit.config import load_config
from detkit.converters.any_file import load_foreign
from detkit.converters.rtdetr import FAMILIES, convert_deim, convert_dfine, convert_rtdetr, load_family
from detkit.converters.rtdetr_keys import DFINE_KEYS, RTDETR_KEYS, layout_of
from detkit.datasets.class_names import COCO80
from detkit.engine.finetune import load_weights
from detkit.registry import DETECTORS
from detkit.utils.without_memory import without_memory

PARITY = Path(__file__).parents[1] / 'parity'
SIZES = {
    'rtdetr': ('r18', 'r34', 'r50_m', 'r50', 'r101', 'hgnetv2_l', 'hgnetv2_x'),
    'dfine': ('n', 's', 'm', 'l', 'x'),
}
CONVERT = {'rtdetr': convert_rtdetr, 'dfine': convert_dfine}
SMALL = """
_base_ = 'detkit::{base}'

model = dict(
    backbone=dict({backbone}),
    neck=dict(out_channels=32, feedforward_dims=32, num_heads=2),
    head=dict(num_queries=20, decoder=dict(embed_dims=32, num_heads=2, num_layers=2, feedforward_dims=32)),
)
"""


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> dict[str, Path]:
    """Configs of small models: RT-DETR, and D-FINE with two maps."""
    folder = tmp_path_factory.mktemp('configs')
    files = {family: folder / f'{family}_small.py' for family in SIZES}
    files['rtdetr'].write_text(SMALL.format(base='rtdetr/det_r18_coco8', backbone=''))
    files['dfine'].write_text(SMALL.format(base='dfine/det_n_coco8', backbone=''))
    return files


def build(config: Path, device: str = 'cpu', **options) -> nn.Module:
    num_classes = options.pop('num_classes', None)
    cfg = load_config(config, options, need_classes=False)
    cfg.model.head.num_classes = num_classes or cfg.model.head.num_classes
    torch.manual_seed(0)
    with without_memory() if device == 'meta' else torch.device(device):
        return DETECTORS.build(cfg.model)


def keys_of(family: str, layout: str, model: nn.Module):
    levels = sum('in_convs' in name and name.endswith('conv.weight') for name in model.neck.state_dict())
    return RTDETR_KEYS[layout] if family == 'rtdetr' else DFINE_KEYS[levels][layout]


def published_state(family: str, model: nn.Module, layout: str) -> dict[str, Tensor]:
    """Under the names of a layout; the authors' attentions are packed."""
    keys, state, packed = keys_of(family, layout, model), {}, {}
    for ours, value in model.state_dict().items():
        theirs = keys.to_theirs(ours)
        if layout != 'hugging_face' and '.self_attn.' in theirs and '.out_proj.' not in theirs:
            attention, _, kind = theirs.rpartition('.')
            packed.setdefault(f'{attention.rpartition(".")[0]}.in_proj_{kind}', []).append(value)
        else:
            state[theirs] = value
    return state | {name: torch.cat(parts) for name, parts in packed.items()}


def write_names(folder: Path, count: int) -> Path:
    path = folder / 'names.txt'
    path.write_text('\n'.join(f'thing {index}' for index in range(count)))
    return path


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'family, layout, nested',
    [
        slow_unless(nested == 'model' or family == 'rtdetr' and layout == 'original', family, layout, nested)
        for family, layouts in {'rtdetr': RTDETR_KEYS, 'dfine': ('original', 'hugging_face')}.items()
        for layout in layouts
        for nested in (('model', 'plain') if layout == 'hugging_face' else ('ema', 'model', 'plain'))
    ],
)
def test_every_layout_gives_the_same_checkpoint(small, family, layout, nested, tmp_path):
    model = build(small[family])
    state = published_state(family, model, layout)
    assert layout_of(state) == (family, layout)
    if layout == 'hugging_face':
        if nested == 'model':  # the prediction layers once more, as releases before 5 save them
            layers = [
                name for name in state if name.startswith(('model.decoder.class_embed', 'model.decoder.bbox_embed'))
            ]
            state |= {name.removeprefix('model.decoder.'): state[name] for name in layers}
        source = write_safetensors(tmp_path / 'model.safetensors', state)
        classes = {str(index): name for index, name in enumerate(COCO80)}
        classes['3'], classes['57'] = 'motorbike', 'sofa'  # COCO's motorcycle and couch
        (tmp_path / 'config.json').write_text(json.dumps({'id2label': classes, 'num_queries': 20}))
    else:
        source = tmp_path / 'x.pth'
        zeros = {name: torch.zeros_like(value) for name, value in state.items()}
        content = {'ema': {'ema': {'module': state, 'updates': 3}, 'model': zeros, 'last_epoch': 1}, 'plain': state}
        torch.save(content.get(nested, {'model': state}), source)
    checkpoint, report = converted(CONVERT[family], source, tmp_path / 'out.pth', config=small[family])
    expected = model.state_dict()
    assert list(checkpoint['state_dict']) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint['state_dict'].items())
    assert checkpoint['meta']['classes'] == list(COCO80)
    assert ('averaged' in report) == (nested == 'ema')


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    'family, size, layout',
    [
        slow_unless(layout == 'original' or size == sizes[0], family, size, layout)
        for family, sizes in SIZES.items()
        for size in sizes
        for layout in ('original', 'hugging_face')
    ],
)
def test_names_are_inverse_and_the_size_is_found(family, size, layout, monkeypatch, tmp_path):
    name = 'det_v2_coco.py' if (family, layout) == ('rtdetr', 'original') else 'det_coco.py'
    model = build(CONFIGS / family / name, 'meta', size=size)
    keys = keys_of(family, layout, model)
    names = [keys.to_theirs(ours) for ours in model.state_dict()]
    assert len(set(names)) == len(names) and [keys.to_detkit(theirs) for theirs in names] == list(model.state_dict())
    state = published_state(family, model, layout)
    monkeypatch.setattr('detkit.converters.rtdetr.read_state', lambda path: ({}, state))
    monkeypatch.setattr('detkit.converters.rtdetr.stored_state', lambda tensors, *_: tensors)  # which has no values
    conversion = load_family(tmp_path / 'x.pth', FAMILIES[family], CONFIGS)
    assert conversion.config_file == f'configs/{family}/{name}'
    assert f' {size}, 80 classes' in conversion.report[0]
    assert {key: value.shape for key, value in conversion.state.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'family, name',
    [('rtdetr', 'r18'), ('dfine', 'n'), ('dfine', 's'), pytest.param('rtdetr', 'r50', marks=pytest.mark.slow)],
)
def test_a_converted_file_predicts_as_transformers(family, name, tmp_path):
    """The weights, images and outputs are those of the parity tests; files have names of releases before 5, or of 5."""
    model = build(CONFIGS / family / 'det_coco.py', 'meta', size=name, num_classes=7)
    keys = keys_of(family, 'hugging_face', model)
    shapes = {keys.to_theirs(ours): tuple(value.shape) for ours, value in model.state_dict().items()}
    if family == 'rtdetr':
        state, images, queries = (
            rtdetr_shapes.rtdetr_state(shapes),
            rtdetr_shapes.images(name),
            rtdetr_shapes.NUM_QUERIES,
        )
    else:
        from test_models.test_dfine_parity import in_memory

        shapes = {in_memory(theirs): shape for theirs, shape in shapes.items()}
        state = dfine_shapes.dfine_state(shapes, 4.0)
        images, queries = dfine_shapes.images(name), dfine_shapes.NUM_QUERIES
    single = {theirs: value.float() if value.is_floating_point() else value for theirs, value in state.items()}
    write_safetensors(tmp_path / 'model.safetensors', single)
    config = {'id2label': {str(index): f'thing {index}' for index in range(7)}, 'num_queries': queries}
    config['model_type'] = dict(rtdetr='rt_detr', dfine='d_fine')[family]
    (tmp_path / 'config.json').write_text(json.dumps(config))
    conversion = load_family(tmp_path / 'model.safetensors', FAMILIES[family], CONFIGS)
    converted_model = DETECTORS.build(dict(conversion.config['model']))
    converted_model.load_state_dict(conversion.state)
    with torch.no_grad():
        preds = converted_model.eval()(images.float())
    with np.load(PARITY / f'{family}.npz') as recorded:
        last = f'.{len(preds["cls_logits"]) - 1}' if family == 'rtdetr' else ''
        for key in ('cls_logits', 'bbox_preds'):
            assert_matches(preds[key][-1], recorded[f'{name}.eval.{key}{last}'], 1e-4, key)


@pytest.mark.parametrize('family', SIZES)
def test_fine_tuning_keeps_the_rows_of_classes_of_the_same_name(small, family):
    model, config = build(small[family]), load_config(small[family], need_classes=False).model
    other = DETECTORS.build(dict(config, head=dict(config.head, num_classes=2)))
    report = load_weights(other, dict(meta=dict(classes=list(COCO80)), state_dict=model.state_dict()), ('dog', 'bolt'))
    assert report.copied_classes == ['dog'] and not report.unused
    for name in ('head.fc_cls.0', 'head.fc_cls.1', 'head.selection.fc_cls', 'head.denoising.class_embed'):
        before, after = model.get_submodule(name), other.get_submodule(name)
        assert torch.equal(after.weight[0], before.weight[COCO80.index('dog')])


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('family', SIZES)
def test_what_does_not_fit_is_refused_with_what_it_lacks(small, family, tmp_path):
    model = build(small[family])
    state = published_state(family, model, 'original')
    other = 'dfine' if family == 'rtdetr' else 'rtdetr'

    def refused(changed: dict[str, Tensor], convert=CONVERT[family], **kwargs) -> str:
        source = tmp_path / 'x.pth'
        torch.save(changed, source)
        return error_of(convert, source, **{'config': small[family], **kwargs})

    assert f'convert it by `detkit convert {family}`' in refused(state, CONVERT[other])
    assert 'it has no selection of queries' in refused({'class_embed.weight': torch.ones(2, 2)})
    lacking = {name: value for name, value in state.items() if name != 'decoder.query_pos_head.layers.0.bias'}
    assert '1 missing:\n  decoder.query_pos_head.layers.0.bias' in refused(lacking)
    assert '1 unknown:\n  more' in refused({**state, 'more': torch.ones(1)})
    assert 'has none of the sizes' in refused(state, config=None)
    assert 'describes no' in refused(state, config=CONFIGS / 'detr' / 'det_coco.py')
    assert 'has 80 classes, but' in refused(state, names=write_names(tmp_path, 2))
    torch.save(state, tmp_path / 'x.pth')
    own = dict(names=write_names(tmp_path, 80), config=small[family])
    checkpoint, _ = converted(CONVERT[family], tmp_path / 'x.pth', tmp_path / 'out.pth', **own)
    assert checkpoint['meta']['classes'][1] == 'thing 1'


def test_what_lies_beside_a_file_of_the_hub_counts(small, tmp_path):
    state = published_state('dfine', build(small['dfine']), 'hugging_face')
    source = write_safetensors(tmp_path / 'model.safetensors', state)
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'deimv2'}))
    assert "config.json beside it says 'deimv2'; it cannot be converted" in error_of(
        convert_dfine, source, config=small['dfine']
    )
    (tmp_path / 'config.json').write_text('{')
    assert 'config.json is damaged' in error_of(convert_dfine, source, config=small['dfine'])
    (tmp_path / 'config.json').unlink()
    twice = {**state, 'class_embed.0.bias': state['model.decoder.class_embed.0.bias'] + 1}
    write_safetensors(source, twice)
    error = error_of(convert_dfine, source, config=small['dfine'])
    assert 'are one parameter, model.decoder.class_embed.0.bias' in error


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'decoder_activation_function': 'silu'}, "decoder_activation_function is 'silu', but .* has 'relu'"),
        ({'decoder_activation_function': 'swish'}, "decoder_activation_function is 'swish', but"),
        ({'encoder_activation_function': 'relu'}, "encoder_activation_function is 'relu'"),
        ({'decoder_attention_heads': 4}, "decoder_attention_heads is '4', but .* has 2; give the config .* --config"),
        ({'encoder_attention_heads': {'a': 1}}, 'encoder_attention_heads is'),
        ({'normalize_before': True}, 'normalize_before'),
        ({'learn_initial_query': True}, 'learn_initial_query'),
    ],
)
def test_what_weights_do_not_show_must_be_what_config_json_says(small, tmp_path, values, message):
    state = published_state('dfine', build(small['dfine']), 'hugging_face')
    source = write_safetensors(tmp_path / 'model.safetensors', state)
    known = {'model_type': 'd_fine', 'num_queries': 20, 'activation_function': 'swish', 'decoder_attention_heads': 2}
    (tmp_path / 'config.json').write_text(json.dumps(known))
    converted(convert_dfine, source, config=small['dfine'])
    (tmp_path / 'config.json').write_text(json.dumps({**known, **values}))
    assert re.search(rf'config\.json says that {message}', error_of(convert_dfine, source, config=small['dfine']))


def test_a_d_fine_of_the_hub_is_no_deim(tmp_path):
    model = build(CONFIGS / 'dfine' / 'det_coco.py', size='n')
    source = write_safetensors(tmp_path / 'model.safetensors', published_state('dfine', model, 'hugging_face'))
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'd_fine'}))
    assert "decoder_activation_function is 'relu', but" in error_of(convert_deim, source)
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'd_fine', 'decoder_activation_function': 'silu'}))
    converted(convert_deim, source)


def test_numbers_of_points_and_sampling_are_read_off(monkeypatch, tmp_path):
    model = build(CONFIGS / 'rtdetr' / 'det_v2_coco.py', 'meta', size='r18', **{'model.head.decoder.num_points': 2})
    state = published_state('rtdetr', model, 'original')
    state['decoder.decoder.layers.0.cross_attn.num_points_scale'] = torch.full((6,), 0.5)
    del state['decoder.denoising_class_embed.weight']
    monkeypatch.setattr('detkit.converters.rtdetr.read_state', lambda path: ({}, state))
    monkeypatch.setattr('detkit.converters.rtdetr.stored_state', lambda tensors, *_: tensors)  # which has no values
    head = load_family(tmp_path / 'x.pth', FAMILIES['rtdetr'], CONFIGS).config['model']['head']
    assert head['decoder']['num_points'] == 2 and head['num_denoising'] == 0


def test_a_file_of_any_project_is_told_by_its_names(tmp_path):
    model = build(CONFIGS / 'dfine' / 'det_coco.py', size='n')
    torch.save({'model': published_state('dfine', model, 'original')}, tmp_path / 'x.pth')
    assert load_foreign(tmp_path / 'x.pth', CONFIGS).config_file == 'configs/dfine/det_coco.py'


def test_a_file_of_deim_is_converted_by_its_own_command(tmp_path):
    model = build(CONFIGS / 'deim' / 'det_coco.py', size='n')
    torch.save({'model': published_state('dfine', model, 'original')}, tmp_path / 'x.pth')
    checkpoint, report = converted(convert_deim, tmp_path / 'x.pth', tmp_path / 'out.pth')
    assert 'files of D-FINE have the same tensors' in report and 'detkit convert dfine' in report
    assert 'DEIM n, 80 classes' in report and "'feedforward_act': 'SiLU'" in checkpoint['meta']['config']
    assert list(checkpoint['state_dict']) == list(model.state_dict())


def test_a_file_that_may_be_deim_s_is_said_to_be(small, tmp_path):
    state = published_state('dfine', build(small['dfine']), 'original')
    torch.save({'model': state}, tmp_path / 'x.pth')
    _, report = converted(convert_dfine, tmp_path / 'x.pth', tmp_path / 'out.pth', config=small['dfine'])
    assert 'files of DEIM have the same tensors' in report and '`detkit convert deim`' in report
    assert 'SiLU in place of ReLU' in report and 'frozen' not in report
    config = tmp_path / 'frozen.py'
    config.write_text(f"_base_ = {str(small['dfine'])!r}\n\nmodel = dict(backbone=dict(norm='frozen'))\n")
    _, report = converted(convert_dfine, tmp_path / 'x.pth', tmp_path / 'frozen.pth', config=config)
    assert 'trained with a normalisation that D-FINE has frozen' in report
    source = write_safetensors(
        tmp_path / 'model.safetensors', published_state('dfine', build(small['dfine']), 'hugging_face')
    )
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': 'd_fine', 'num_queries': 20}))
    _, report = converted(convert_dfine, source, tmp_path / 'hub.pth', config=small['dfine'])
    assert 'DEIM' not in report


@pytest.mark.thorough
def test_deim_on_rtdetr_is_known_by_its_positions(tmp_path):
    files = {'deim': tmp_path / 'deim.pth', 'rtdetr': tmp_path / 'rtdetr.pth'}
    for family, config in dict(deim='deim/det_rtdetrv2_coco.py', rtdetr='rtdetr/det_v2_coco.py').items():
        model = build(CONFIGS / config, size='r18')
        torch.save({'model': published_state('rtdetr', model, 'original')}, files[family])
    assert 'three layers, as DEIM' in error_of(convert_rtdetr, files['deim'])
    assert 'two layers, as RT-DETR' in error_of(convert_deim, files['rtdetr'])
    assert load_foreign(files['deim'], CONFIGS).config_file == 'configs/deim/det_rtdetrv2_coco.py'
    assert load_foreign(files['rtdetr'], CONFIGS).config_file == 'configs/rtdetr/det_v2_coco.py'
