"""Conversion of RF-DETR's files: what comes out, which sizes are found, what is refused and how."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import converted, error_of
from detr_files import write_safetensors
from torch import Tensor, nn

from detkit.config import load_config
from detkit.converters.any_file import load_foreign
from detkit.converters.rfdetr import Architecture, convert_rfdetr, find_architecture, find_size, load_rfdetr
from detkit.converters.rfdetr_layout import RFDETR_KEYS, bare_names, layout_of
from detkit.datasets.class_names import COCO80
from detkit.engine.finetune import load_weights
from detkit.inference import Predictor
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError
from detkit.utils.without_memory import without_memory

NAMES = tuple(f'thing {index}' for index in range(79))
SMALL = """
_base_ = 'detkit::rfdetr/det_tiny_coco8'

model = dict(
    backbone=dict(embed_dims=32, depth=2, num_heads=2, global_blocks=(1,), out_indices=(1, 2), table_size=4),
    neck=dict(out_channels=32),
    head=dict({head}num_groups=2, num_queries=6, decoder=dict(embed_dims=32, feedforward_dims=32, num_layers=2)),
)
"""


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> dict[str, Path]:
    """Configs of small detectors, without masks and with."""
    folder = tmp_path_factory.mktemp('configs')
    files = dict(det=folder / 'det_small.py', seg=folder / 'seg_small.py')
    files['det'].write_text(SMALL.format(head=''))
    files['seg'].write_text(SMALL.format(head="type='RFDETRSegmentHead', ") + "task = 'seg'\n")
    return files


def build(config: Path, device: str = 'cpu', **options) -> nn.Module:
    cfg = load_config(config, options, need_classes=False)
    torch.manual_seed(0)
    with without_memory() if device == 'meta' else torch.device(device):
        return DETECTORS.build(dict(cfg.model, head=dict(cfg.model.head, num_classes=cfg.model.head.num_classes)))


def published_state(model: nn.Module, layout: str) -> dict[str, Tensor]:
    """Under the names of a layout; the authors' attentions among queries are packed, transformers' have a prefix."""
    masks = any('mask_decoder' in name for name in model.state_dict())
    state: dict[str, Tensor] = {}
    packed: dict[str, list[Tensor]] = {}
    for ours, value in model.state_dict().items():
        theirs = RFDETR_KEYS[layout].to_theirs(ours)
        if layout == 'original' and '.self_attn.' in theirs and '.out_proj.' not in theirs:
            attention, _, kind = theirs.rpartition('.')
            packed.setdefault(f'{attention.rpartition(".")[0]}.in_proj_{kind}', []).append(value)
        elif layout == 'hugging_face' and masks and theirs.startswith(('model.', 'class_embed', 'bbox_embed')):
            state[f'model.{theirs}'] = value
        else:
            state[theirs] = value
    return state | {name: torch.cat(parts) for name, parts in packed.items()}


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('kind', ['det', 'seg'])
@pytest.mark.parametrize('layout', ['original', 'hugging_face', 'hub_original'])
def test_every_layout_gives_the_same_checkpoint(small, kind, layout, tmp_path):
    model = build(small[kind])
    if layout == 'hugging_face':
        source = write_safetensors(tmp_path / 'model.safetensors', published_state(model, layout))
        config = {'id2label': {str(index): name for index, name in enumerate((*NAMES, 'last'))}}
        (tmp_path / 'config.json').write_text(json.dumps(config))
    elif layout == 'hub_original':
        source = write_safetensors(tmp_path / 'model.safetensors', published_state(model, 'original'))
        (tmp_path / 'config.json').write_text(json.dumps({'id2label': dict(enumerate(NAMES))}))
    else:
        source = tmp_path / 'rf-detr.pth'
        state = {'_kp_active_mask': torch.zeros(0, 0, dtype=torch.bool), **published_state(model, layout)}
        torch.save({'model': state, 'args': {'class_names': list(NAMES)}}, source)
    checkpoint, report = converted(convert_rfdetr, source, tmp_path / 'out.pth', config=small[kind])
    expected = model.state_dict()
    assert list(checkpoint['state_dict']) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint['state_dict'].items())
    last = 'last' if layout == 'hugging_face' else 'N/A'  # the logit that the authors' package adds
    assert checkpoint['meta']['classes'] == [*NAMES, last]
    assert '80 classes (thing 0, thing 1, thing 2, ...)' in report
    if layout == 'original':
        predictor = Predictor(None, tmp_path / 'out.pth', device='cpu', score_thr=0.0, max_per_img=20)
        result = predictor.predict([np.zeros((48, 64, 3), np.uint8)])[0].pred_instances
        assert len(result) == 20 and ('masks' in result) == (kind == 'seg')


def test_weights_of_classes_of_the_same_name_are_kept_in_every_group(small):
    model, config = build(small['det']), load_config(small['det'], need_classes=False).model
    other = DETECTORS.build(dict(config, head=dict(config.head, num_classes=2)))
    report = load_weights(other, dict(meta=dict(classes=list(COCO80)), state_dict=model.state_dict()), ('dog', 'bolt'))
    assert report.copied_classes == ['dog'] and not report.unused
    for name in ('head.fc_cls', 'head.selections.0.fc_cls', 'head.selections.1.fc_cls'):
        before, after = model.get_submodule(name), other.get_submodule(name)
        assert torch.equal(after.weight[0], before.weight[COCO80.index('dog')])


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    'file, size',
    [*(('det_coco', size) for size in 'nsml'), *(('seg_coco', s) for s in ('n', 's', 'm', 'l', 'xl', '2xl'))],
)
def test_the_size_is_read_off_the_weights(file, size):
    path = CONFIGS / 'rfdetr' / f'{file}.py'
    state = published_state(build(path, 'meta', size=size), 'hugging_face')
    architecture = find_architecture(bare_names(state), 'hugging_face', Path('x'))
    assert architecture.masks == (file == 'seg_coco') and architecture.num_groups == 13
    assert find_size(architecture, path, Path('x')) == {'size': size}


def test_a_side_that_no_size_has_is_that_of_the_file(tmp_path):
    path = CONFIGS / 'rfdetr' / 'seg_coco.py'
    nano = Architecture(True, 12, 32, 4, 100, 13, 91)  # of 384 pixels, as the size s
    assert find_size(nano, path, tmp_path, num_windows=1) == {'size': 'n', 'side': 384}
    assert find_size(nano, path, tmp_path) == {'size': 's'}
    large = replace(nano, num_layers=5, table_size=50)
    assert find_size(large, path, tmp_path) == {'size': 'm', 'side': 600, 'num_queries': 100}
    for architecture, num_windows in ((replace(nano, table_size=30), None), (nano, 3)):
        with pytest.raises(CheckpointError, match='has none of the sizes'):
            find_size(architecture, path, tmp_path, num_windows)


@pytest.mark.parametrize('num_queries', [200, 300])
def test_the_number_of_queries_is_that_of_the_file(num_queries, monkeypatch):
    """The package's config gives the size l with masks 200 queries, its published file has 300."""
    model = build(CONFIGS / 'rfdetr' / 'seg_coco.py', 'meta', size='l', num_queries=num_queries)
    assert sum(param.numel() for param in model.parameters()) == {200: 35_873_971, 300: 36_211_971}[num_queries]
    state = published_state(model, 'original')
    monkeypatch.setattr('detkit.converters.rfdetr.read_state', lambda path: ({}, state))
    monkeypatch.setattr('detkit.converters.rfdetr.stored_state', lambda tensors, *_: tensors)  # which has no values
    conversion = load_rfdetr('x.pth', CONFIGS)
    head = conversion.config['model']['head']
    assert (head['num_queries'], head['test_cfg']['max_per_img']) == (num_queries, num_queries)
    assert ('num_queries=300' in ''.join(conversion.advice(Path('x.pth')))) == (num_queries == 300)


def test_a_file_of_any_project_is_told_by_its_names(small, tmp_path):
    model = build(small['det'])
    source = tmp_path / 'x.pth'
    torch.save(published_state(model, 'original'), source)
    with pytest.raises(CheckpointError, match='patches of 8 pixels and 2 decoder layers has none of'):
        load_foreign(source, CONFIGS)


def test_what_does_not_fit_is_refused_with_what_it_lacks(small, tmp_path):
    state = published_state(build(small['det']), 'original')
    assert layout_of(state) == 'original' and layout_of({'class_embed.weight': 0}) is None
    (tmp_path / 'names.txt').write_text('\n'.join(NAMES))
    arguments = dict(config=small['det'], names=tmp_path / 'names.txt')

    def refused(changed: dict[str, Tensor], **kwargs) -> str:
        source = tmp_path / 'x.pth'
        torch.save(changed, source)
        return error_of(convert_rfdetr, source, **{**arguments, **kwargs})

    assert 'is no RF-DETR' in refused({'class_embed.weight': torch.ones(2, 2)})
    lacking = {name: value for name, value in state.items() if name != 'transformer.decoder.norm.bias'}
    assert '1 missing:\n  transformer.decoder.norm.bias' in refused(lacking)
    assert '1 unknown:\n  more' in refused({**state, 'more': torch.ones(1)})
    without = {name: value for name, value in state.items() if 'position_embeddings' not in name}
    assert 'lacks backbone.0.encoder.encoder.embeddings.position_embeddings' in refused(without)
    (tmp_path / 'names.txt').write_text('one\ntwo')
    assert 'has 80 classes, but' in refused(state)
    assert 'describes no RF-DETR' in refused(state, config=CONFIGS / 'detr' / 'det_coco.py')
    with pytest.raises(CheckpointError, match='does not exist'):
        load_rfdetr(tmp_path / 'none.pth', CONFIGS)


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'backbone_config': {'num_windows': 4}}, "backbone_config.num_windows is '4', but the model .* has 2"),
        ({'decoder_cross_attention_heads': 3}, "decoder_cross_attention_heads is '3'"),
        ({'decoder_activation_function': 'gelu'}, "decoder_activation_function is 'gelu'"),
    ],
)
@pytest.mark.parametrize('layout', ['original', 'hugging_face'])
def test_what_weights_do_not_show_must_be_what_config_json_says(small, tmp_path, layout, values, message):
    names = {'id2label': {str(index): f'thing {index}' for index in range(80)}, 'backbone_config': {'num_windows': 2}}
    source = write_safetensors(tmp_path / 'model.safetensors', published_state(build(small['det']), layout))
    (tmp_path / 'config.json').write_text(json.dumps(names))
    load_rfdetr(source, CONFIGS, small['det'])
    (tmp_path / 'config.json').write_text(json.dumps({**names, **values}))
    with pytest.raises(CheckpointError, match=f'config.json says that {message}'):
        load_rfdetr(source, CONFIGS, small['det'])


def test_what_weights_do_not_show_must_be_what_the_package_says(small, tmp_path):
    source, config = tmp_path / 'x.pth', {'num_windows': 2, 'resolution': 64}
    state = published_state(build(small['det']), 'original')
    for key, value in {'num_windows': 1, 'ca_nheads': 2, 'lite_refpoint_refine': False}.items():
        content = {'model': state, 'args': {'class_names': list(NAMES)}, 'model_config': {**config, key: value}}
        torch.save(content, source)
        with pytest.raises(CheckpointError, match=f"x.pth says that {key} is '{value}', but the model"):
            load_rfdetr(source, CONFIGS, small['det'])
