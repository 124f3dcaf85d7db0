"""Conversion of DEIMv2's files: what comes out of both layouts, and what is refused and how."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from builders import CONFIGS, build_model
from conversions import error_of
from detr_files import write_safetensors
from torch import Tensor, nn

from detkit.converters.any_file import load_foreign
from detkit.converters.deim import convert_deimv2, load_deimv2
from detkit.converters.deim_layout import AUTHORS_KEYS, HUB_KEYS, layout_of
from detkit.datasets.class_names import COCO80
from detkit.engine import load_checkpoint
from detkit.registry import DETECTORS

KEYS = {'hugging_face': HUB_KEYS, 'original': AUTHORS_KEYS}
LAYOUTS = tuple(KEYS)


@pytest.fixture(scope='module', params=['atto', 'n'])
def model(request) -> nn.Module:
    torch.manual_seed(0)
    built = build_model('deimv2', 80, size=request.param).eval()
    for name, value in built.state_dict().items():  # also what begins as 0 or 1
        if value.is_floating_point() and 'bin_scale' not in name and 'running_var' not in name:
            value.add_(torch.randn_like(value) * 0.02)
    return built


def published_state(model: nn.Module, layout: str) -> dict[str, Tensor]:
    """A model's tensors as a file of a layout holds them."""
    small, state = model.head.unite_matches is False, {}
    theirs = {KEYS[layout].to_theirs(ours): value.clone() for ours, value in model.state_dict().items()}
    for name, value in theirs.items():
        if '.conv1b.' in name:
            continue
        if '.conv1a.' in name:
            other = theirs[name.replace('.conv1a.', '.conv1b.')]
            state[name.replace('.conv1a.', '.conv1.')] = torch.cat((value, other)) if value.ndim else value
        elif '.gate_up_proj.' in name:
            for part, half in zip(('gate_proj', 'up_proj'), value.chunk(2), strict=True):
                state[name.replace('gate_up_proj', part)] = half
        elif '.scale.' in name:
            short = name.rpartition('.')[2]
            if layout == 'original':
                state[f'decoder.{short}'] = state[f'decoder.decoder.{short}'] = value
            else:
                state[f'model.decoder.{short}'] = value
        elif '.gateway.norm.' in name and small:
            new = 'encoder_attn_layer_norm.weight' if layout == 'hugging_face' else 'norm2.scale'
            state[name.replace('gateway.norm.weight', new)] = value
        elif (
            layout == 'original'
            and re.search(r'\.layers\.\d+\.(norm\d|gateway\.norm)\.weight$', name)
            and (name.startswith('decoder'))
        ):
            state[f'{name.removesuffix("weight")}scale'] = value
        elif layout == 'original' and (match := re.fullmatch(r'(.*)\.(q|k|v)_proj\.(.*)', name)):
            if match[2] == 'q':
                parts = [theirs[f'{match[1]}.{part}_proj.{match[3]}'] for part in 'qkv']
                state[f'{match[1]}.in_proj_{match[3]}'] = torch.cat(parts)
        elif match := re.fullmatch(r'(encoder\.down_sample\d)\.(conv|norm)\.(.*)', name):
            state[f'{match[1]}.{("conv", "norm").index(match[2]) + 1}.{match[3]}'] = value
        else:
            state[name.replace('encoder.in_proj.', 'encoder.input_proj.0.')] = value
    prefix = 'decoder.dec_bbox_head' if layout == 'original' else 'model.decoder.bbox_embed'
    if small:  # one MLP, under the name of each layer
        for name in [name for name in state if name.startswith(f'{prefix}.0.')]:
            for layer in (1, 2):
                state[name.replace(f'{prefix}.0.', f'{prefix}.{layer}.')] = state[name].clone()
    if layout == 'original':
        return state | {'decoder.anchors': torch.zeros(1, 4, 4), 'decoder.valid_mask': torch.ones(1, 4, 1)}
    dims = model.head.decoder.embed_dims
    return state | {
        'model.enc_output.0.weight': torch.eye(dims),
        'model.enc_output.0.bias': torch.zeros(dims),
        'model.enc_output.1.weight': torch.ones(dims),
        'model.enc_output.1.bias': torch.zeros(dims),
        'bbox_embed.0.layers.0.weight': torch.zeros(2, 2),  # a second name
    }


def write(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == '.safetensors':
        write_safetensors(path, {name: value.contiguous() for name, value in state.items()})
    else:
        torch.save({'model': state, 'last_epoch': 3}, path)
    return path


def test_the_averaged_weights_of_a_training_are_taken_and_named(tmp_path):
    model = build_model('deimv2', 80, size='atto')
    state = published_state(model, 'original')
    zeros = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save({'model': zeros, 'ema': {'module': state, 'updates': 3}}, tmp_path / 'last.pth')
    lines = convert_deimv2(tmp_path / 'last.pth', tmp_path / 'out.pth', CONFIGS)
    assert 'weights  the averaged ones of training (ema)' in lines
    found = load_checkpoint(tmp_path / 'out.pth')['state_dict']
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items() if 'batches' not in name)


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_converted_file_predicts_the_same(model, layout, suffix, tmp_path):
    source = write(tmp_path / f'deim{suffix}', published_state(model, layout))
    lines = convert_deimv2(source, tmp_path / 'out.pth', CONFIGS)
    assert lines[0].startswith(f'read     {source}: DEIMv2 of {model.head.decoder.embed_dims} channels, 80 classes')
    assert ('selection is left out' in ''.join(lines)) == (layout == 'hugging_face')
    checkpoint = load_checkpoint(tmp_path / 'out.pth')
    for name, value in model.state_dict().items():
        assert torch.equal(checkpoint['state_dict'][name], value) or name.endswith('num_batches_tracked'), name
    conversion = load_foreign(source, CONFIGS)
    assert conversion.config['classes'] == COCO80
    same = DETECTORS.build(conversion.config['model']).eval()
    same.load_state_dict(conversion.state)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected, found = model(images), same(images)
    for key in ('cls_logits', 'bbox_preds'):
        assert torch.equal(found[key], expected[key])


def test_a_file_without_counts_of_batches_is_converted(model, tmp_path):
    state = published_state(model, 'original')
    bare = {name: value for name, value in state.items() if not name.endswith('num_batches_tracked')}
    assert layout_of(bare) == 'original' and len(bare) < len(state)
    conversion = load_deimv2(write(tmp_path / 'deim.pth', bare), CONFIGS)
    assert conversion.state.keys() == model.state_dict().keys()


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('layout', LAYOUTS)
def test_tensors_that_cannot_be_joined_or_taken_apart_are_listed(model, layout, tmp_path):
    state = published_state(model, layout)
    joined = (
        '.mlp.gate_proj.',
        '.mlp.up_proj.',
        '.in_proj_',
        'model.enc_output.',
        'cv1.conv1.',
        '.csp_rep1.conv1.conv.',
    )
    names = {next((name for name in state if part in name and state[name].is_floating_point()), '') for part in joined}
    assert len(names) > 1  # one of them may be the empty name of none
    for name in filter(None, names):
        for shape in ((), (2, 3, 1)):
            source = write(tmp_path / 'model.pth', {**state, name: torch.zeros(shape)})
            message = error_of(convert_deimv2, source)
            assert message.startswith(f'{source} ') and 'do not match' in message, (name, shape, message)


def test_a_selection_that_was_trained_has_the_graph_of_the_library(model, tmp_path):
    state = published_state(model, 'hugging_face')
    state['model.enc_output.0.bias'] += 0.5
    source = write(tmp_path / 'model.safetensors', state)
    head = load_deimv2(source, CONFIGS).config['model']['head']
    assert head['project_cells'] and head['act'] == head['decoder']['act'] == 'ReLU'
    assert not head['decoder']['fixed_positions']
    (tmp_path / 'config.json').write_text(json.dumps(dict(decoder_activation_function='silu')))
    assert 'detkit has one activation for all MLPs of a decoder' in error_of(convert_deimv2, source)


def test_other_classes_are_named_by_a_file(model, tmp_path):
    state = published_state(model, 'original')
    for name in state:
        if 'score_head' in name:
            state[name] = state[name][:3]
        elif 'denoising_class_embed' in name:
            state[name] = state[name][:4]
    source = write(tmp_path / 'deim.pth', state)
    assert 'has 3 classes without names, and COCO 80; give the names with --names' in error_of(convert_deimv2, source)
    names = tmp_path / 'names.txt'
    names.write_text('a\nb\nc\n')
    assert load_deimv2(source, CONFIGS, names=names).config['classes'] == ('a', 'b', 'c')
    names.write_text('a\nb\n')
    assert 'has 3 classes, but ' in error_of(convert_deimv2, source, names=names)


def test_what_does_not_fit_is_listed(model, tmp_path):
    state = published_state(model, 'original')
    state['decoder.more.weight'] = torch.zeros(2)
    state['decoder.enc_bbox_head.layers.1.weight'] = torch.zeros(2, 2)
    del state['decoder.pre_bbox_head.layers.0.bias']
    message = error_of(convert_deimv2, write(tmp_path / 'deim.pth', state))
    for part in (
        '1 unknown:\n  decoder.more.weight',
        '1 missing:\n  decoder.pre_bbox_head.layers.0.bias',
        'decoder.enc_bbox_head.layers.1.weight (2, 2) instead of',
    ):
        assert part in message


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ({'a': torch.zeros(2)}, 'is no DEIMv2 with HGNetV2'),
        (
            {
                'decoder.decoder.layers.0.swish_ffn.w12.weight': torch.zeros(2, 2),
                'backbone.dinov3.cls_token': torch.zeros(2),
            },
            'give a published checkpoint of Atto, Femto, Pico or N',
        ),
        (
            {
                'decoder.decoder.layers.0.swish_ffn.w12.weight': torch.zeros(2, 2),
                'backbone.stem.stem1.conv.weight': torch.zeros(2),
                'decoder.enc_score_head.weight': torch.zeros(80, 50),
            },
            'has maps of 50 channels, which no size has',
        ),
    ],
    ids=['another', 'dinov3', 'channels'],
)
def test_other_files_are_refused(state, message, tmp_path):
    assert message in error_of(convert_deimv2, write(tmp_path / 'x.pth', state))
