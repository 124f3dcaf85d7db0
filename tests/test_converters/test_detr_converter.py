"""Conversion of DETR's files: what comes out, what is accepted, what is refused and how."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from conversions import converted
from conversions import error_of as refusal
from detr_files import published_state, small_detr, write_hub, write_original, write_safetensors
from small_models import write_images

from detkit.config import load_config
from detkit.converters.common import read_names
from detkit.converters.detr import convert_detr
from detkit.converters.detr_file import DETR_KEYS, layout_of
from detkit.engine.finetune import load_weights
from detkit.inference import Predictor, init_detector
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError, DataError
from detkit.utils.safetensors_file import is_safetensors, read_safetensors
from detkit.utils.without_memory import without_memory

DET = CONFIGS / 'detr' / 'det_coco.py'
COCO = tuple(load_config(CONFIGS / 'detr' / 'det_coco.py').classes)


@pytest.fixture(scope='module')
def model():
    return small_detr()


def convert(source: Path, **kwargs) -> tuple[dict, str]:
    return converted(convert_detr, source, source.with_name('out.pth'), **kwargs)


def error_of(source: Path, **kwargs) -> str:
    return refusal(convert_detr, source, **kwargs)


def assert_weights(checkpoint: dict, model: torch.nn.Module) -> None:
    expected = model.state_dict()
    assert list(checkpoint['state_dict']) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint['state_dict'].items())


# What comes out.


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('layout', ['zipped', 'legacy', 'plain', 'hub', 'bin'])
def test_every_layout_gives_the_same_checkpoint(model, layout, tmp_path):
    if layout == 'hub':
        source = write_hub(tmp_path, model)
    elif layout == 'bin':
        source = tmp_path / 'pytorch_model.bin'
        torch.save(published_state(model, 'hugging_face'), source)
    elif layout == 'plain':
        source = tmp_path / 'in.pth'
        torch.save(published_state(model, 'original'), source)
    else:
        source = write_original(tmp_path / 'in.pth', model, zipped=layout == 'zipped')
    checkpoint, report = convert(source)
    assert_weights(checkpoint, model)
    meta = checkpoint['meta']
    assert meta['classes'] == list(COCO) and meta['task'] == 'det'
    project = 'transformers' if layout in ('hub', 'bin') else 'DETR'
    assert meta['converted_from'] == {'file': source.name, 'project': project}
    assert f'DETR ResNet-18, 91 classes (N/A, person, bicycle, ...), in the layout of {project}' in report


def test_the_checkpoint_predicts_and_starts_training(model, tmp_path):
    checkpoint, _ = convert(write_original(tmp_path / 'in.pth', model))
    write_images(tmp_path / 'images', 1)
    predictor = Predictor(None, tmp_path / 'out.pth', device='cpu', img_size=64, score_thr=0.0)
    assert predictor.classes == COCO
    assert len(predictor.predict(str(tmp_path / 'images'))[0].pred_instances) == 7

    other = small_detr(num_classes=2)
    report = load_weights(other, checkpoint, ('dog', 'bolt'))
    assert report.copied_classes == ['dog'] and not report.unused
    rows = model.head.fc_cls.weight[[COCO.index('dog'), 91]]
    assert torch.equal(other.head.fc_cls.weight[[0, 2]], rows)


def test_the_converted_model_gives_the_same_outputs(tmp_path):
    model = small_detr(num_heads=4)
    convert(write_original(tmp_path / 'in.pth', model, args=dict(nheads=4, dilation=False)))
    converted = init_detector(None, tmp_path / 'out.pth', 'cpu')
    assert converted.head.transformer.num_heads == 4
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for name, value in model(x).items():
            torch.testing.assert_close(converted(x)[name], value, rtol=1e-4, atol=1e-5)


def test_half_precision_becomes_single(model, tmp_path):
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in published_state(model, 'hugging_face').items()
    }
    checkpoint, _ = convert(write_safetensors(tmp_path / 'in.safetensors', state))
    assert {value.dtype for value in checkpoint['state_dict'].values()} == {torch.float32}


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('num_classes', 'task', 'config'), [(91, 'seg', 'seg_coco.py'), (250, 'panoptic', 'panoptic_coco.py')]
)
@pytest.mark.parametrize('layout', ['original', 'hugging_face'])
def test_models_with_masks(num_classes, task, config, layout, tmp_path):
    model = small_detr(num_classes, masks=True, num_heads=8)
    if layout == 'original':
        source = write_original(tmp_path / 'in.pth', model, args=dict(nheads=8))
    else:
        source = write_hub(tmp_path, model, dict(encoder_attention_heads=8))
    checkpoint, report = convert(source)
    assert_weights(checkpoint, model)
    assert checkpoint['meta']['task'] == task and 'DETR ResNet-18 with masks' in report
    assert f'detr/{config.removesuffix(".py")}' in report
    write_images(tmp_path / 'images', 1)
    predictor = Predictor(None, tmp_path / 'out.pth', device='cpu', img_size=64, score_thr=0.0)
    (result,) = predictor.predict(str(tmp_path / 'images'))
    assert len(result.pred_instances.masks) == 7
    assert ('pred_panoptic' in result) == (task == 'panoptic')


def test_panoptic_boxes_without_masks(tmp_path):
    checkpoint, report = convert(write_original(tmp_path / 'in.pth', small_detr(250)))
    assert 'detr/det_panoptic' in report and checkpoint['meta']['classes'][200] == 'rug-merged'


def test_learned_positions(tmp_path):
    model = small_detr(positions='LearnedPositionEncoding')
    for layout in ('original', 'hugging_face'):
        source = write_safetensors(tmp_path / f'{layout}.safetensors', published_state(model, layout))
        assert_weights(convert(source)[0], model)


def test_the_same_file_gives_the_same_bytes(model, tmp_path):
    source = write_original(tmp_path / 'in.pth', model)
    convert(source)
    first = (tmp_path / 'out.pth').read_bytes()
    convert(source)
    assert (tmp_path / 'out.pth').read_bytes() == first


def test_counters_of_batches_are_left_out(model, tmp_path):
    state = published_state(model, 'hugging_face')
    state['model.backbone.conv_encoder.model.bn1.num_batches_tracked'] = torch.tensor(3)
    assert_weights(convert(write_safetensors(tmp_path / 'in.safetensors', state))[0], model)


# What weights do not tell.


def dilated(report: str) -> bool:
    return 'dilation yes' in report


def test_dilation_by_the_files_name(tmp_path):
    model = small_detr(depth=50, dilated=True)
    checkpoint, report = convert(write_original(tmp_path / 'detr-r50-DC5.pth', model))
    assert "dilation yes: the file's name has 'dc5'" in report and 'ResNet-50-DC5' in report
    assert "'dilate_last': True" in checkpoint['meta']['config']
    assert_weights(checkpoint, model)


def test_dilation_by_what_the_file_says(tmp_path):
    source = write_original(tmp_path / 'a-dc5.pth', small_detr(), args=dict(dilation=False, nheads=1))
    assert 'dilation no: a-dc5.pth says so' in convert(source)[1]
    model = small_detr(depth=50)
    source = write_hub(tmp_path / 'hub', model, dict(dilation=True, encoder_attention_heads=1))
    assert 'dilation yes: config.json says so' in convert(source)[1]


def test_dilation_by_a_config(tmp_path):
    transformer = 'embed_dims=32, num_heads=1, num_encoder_layers=1, num_decoder_layers=2, feedforward_dims=40'
    config = tmp_path / 'mine.py'
    config.write_text(
        f'_base_ = {str(DET)!r}\n'
        f'model = dict(backbone=dict(dilate_last=True), head=dict(num_queries=7, transformer=dict({transformer})))\n'
    )
    checkpoint, report = convert(write_original(tmp_path / 'in.pth', small_detr(depth=50)), config=config)
    assert f'dilation yes: {config} says so' in report and "'dilate_last': True" in checkpoint['meta']['config']
    assert f'config   {config}\n' in report and checkpoint['meta']['config_file'] == 'mine.py'


def test_dilation_by_a_size(tmp_path):
    source = write_original(tmp_path / 'in.pth', small_detr(depth=50))
    checkpoint, report = convert(source, size='r50_dc5')
    assert 'dilation yes: --size says so' in report and "'dilate_last': True" in checkpoint['meta']['config']
    assert '--cfg-options size=r50_dc5 predict_cfg.score_thr=0.7 with other sizes' in report
    (tmp_path / 'out.pth').unlink()
    assert 'in.pth is of size r50_dc5, not r101_dc5 (--size).' in error_of(source, size='r101_dc5')


def test_a_file_that_says_nothing_is_taken_as_not_dilated_and_the_report_says_why(model, tmp_path):
    _, report = convert(write_original(tmp_path / 'in.pth', model))
    assert (
        "dilation no: the file's name has no 'dc5', and weights do not show it; for a model that has it, give --size"
        in report
    )


def test_classes_by_the_hubs_config(tmp_path):
    model = small_detr(2)
    source = write_hub(tmp_path, model, dict(id2label={'0': 'bolt', '1': 'nut'}))
    checkpoint, report = convert(source)
    assert checkpoint['meta']['classes'] == ['bolt', 'nut'] and 'classes  as config.json has them' in report
    assert checkpoint['meta']['config_file'] == 'configs/detr/det_coco.py'
    config = json.dumps(dict(id2label={'0': 'LABEL_0', '1': 'LABEL_1'}))
    (tmp_path / 'config.json').write_text(config)  # nobody has named them
    (tmp_path / 'out.pth').unlink()
    assert 'has 2 classes without names, and COCO 91; give the names with --names' in error_of(source)


def test_names_of_ids_that_coco_never_used_change_nothing(model, tmp_path):
    names = {str(label): name if name != 'N/A' else f'unused {label}' for label, name in enumerate(COCO)}
    checkpoint, _ = convert(write_hub(tmp_path, model, dict(id2label=names)))
    assert tuple(checkpoint['meta']['classes']) == COCO


def test_classes_by_a_file_of_names(tmp_path):
    names = tmp_path / 'my.names'
    names.write_text('bolt\nnut\n\n')
    source = write_original(tmp_path / 'in.pth', small_detr(2))
    checkpoint, report = convert(source, names=names)
    assert checkpoint['meta']['classes'] == ['bolt', 'nut'] and f'classes  as {names} has them' in report
    (tmp_path / 'out.pth').unlink()
    names.write_text('bolt\n')
    assert f'but {names} names 1; give the names of all of its classes with --names FILE' in error_of(
        source, names=names
    )
    assert 'does not exist; give a file with the class names' in error_of(source, names=tmp_path / 'none')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_names_in_any_unicode_encoding_and_none_in_others(encoding, tmp_path):
    names = tmp_path / 'my.names'
    names.write_text('Müller\nnut\n', encoding=encoding)
    assert read_names(names) == ('Müller', 'nut')
    names.write_text('Müller\nnut\n', encoding='latin-1')
    with pytest.raises(DataError, match='file of class names .*my.names.* is no UTF-8 text'):
        read_names(names)


# The published sizes, without their weights.


@pytest.mark.parametrize(
    ('config', 'size'),
    [
        ('det_coco', 'r50'),
        ('det_coco', 'r101'),
        ('det_coco', 'r50_dc5'),
        ('seg_coco', 'r50'),
        ('panoptic_coco', 'r50'),
        ('det_panoptic', 'r50'),
    ],
)
def test_names_of_published_models_are_one_to_one(config, size):
    cfg = load_config(CONFIGS / 'detr' / f'{config}.py', dict(size=size)).model
    with without_memory():
        names = list(DETECTORS.build(cfg).state_dict())
    hub = [DETR_KEYS['hugging_face'].to_theirs(name) for name in names]
    assert len(set(hub)) == len(hub) and [DETR_KEYS['hugging_face'].to_detkit(name) for name in hub] == names
    assert layout_of(dict.fromkeys(hub)) == 'hugging_face'
    original = [DETR_KEYS['original'].to_theirs(name) for name in names]
    assert len(set(original)) == len(original) and [DETR_KEYS['original'].to_detkit(name) for name in original] == names
    assert layout_of(dict.fromkeys(f'detr.{name}' for name in original)) == 'original'


def test_names_as_the_authors_wrote_them():
    assert {
        theirs: DETR_KEYS['original'].to_detkit(theirs)
        for theirs in (
            'backbone.0.body.layer4.2.bn3.running_var',
            'transformer.decoder.layers.5.multihead_attn.out_proj.weight',
            'transformer.decoder.layers.0.norm3.bias',
            'transformer.encoder.layers.0.norm2.bias',
            'class_embed.bias',
            'bbox_embed.layers.2.weight',
            'detr.query_embed.weight',
            'mask_head.lay5.weight',
            'mask_head.gn1.bias',
            'mask_head.adapter3.weight',
            'bbox_attention.k_linear.bias',
        )
    } == {
        'backbone.0.body.layer4.2.bn3.running_var': 'backbone.layer4.2.bn3.running_var',
        'transformer.decoder.layers.5.multihead_attn.out_proj.weight': 'head.transformer.decoder_layers.5.cross_attn.out_proj.weight',  # noqa: E501
        'transformer.decoder.layers.0.norm3.bias': 'head.transformer.decoder_layers.0.norm_ffn.bias',
        'transformer.encoder.layers.0.norm2.bias': 'head.transformer.encoder_layers.0.norm_ffn.bias',
        'class_embed.bias': 'head.fc_cls.bias',
        'bbox_embed.layers.2.weight': 'head.bbox_mlp.layers.2.weight',
        'detr.query_embed.weight': 'head.query_embed.weight',
        'mask_head.lay5.weight': 'head.mask_decoder.convs.4.weight',
        'mask_head.gn1.bias': 'head.mask_decoder.norms.0.bias',
        'mask_head.adapter3.weight': 'head.mask_decoder.laterals.2.weight',
        'bbox_attention.k_linear.bias': 'head.mask_attention.key_proj.bias',
    }


def test_names_of_the_hubs_own_resnet():
    """As its revisions ``no_timm`` have them."""
    prefix = 'model.backbone.conv_encoder.model'
    assert [
        DETR_KEYS['hugging_face'].to_detkit(f'{prefix}.{name}')
        for name in (
            'embedder.embedder.convolution.weight',
            'embedder.embedder.normalization.bias',
            'encoder.stages.2.layers.5.layer.1.convolution.weight',
            'encoder.stages.0.layers.0.layer.2.normalization.running_mean',
            'encoder.stages.3.layers.0.shortcut.convolution.weight',
            'encoder.stages.3.layers.0.shortcut.normalization.weight',
        )
    ] == [
        'backbone.conv1.weight',
        'backbone.bn1.bias',
        'backbone.layer3.5.conv2.weight',
        'backbone.layer1.0.bn3.running_mean',
        'backbone.layer4.0.downsample.0.weight',
        'backbone.layer4.0.downsample.1.weight',
    ]


# What is refused.


def test_everything_that_does_not_fit_is_listed(model, tmp_path):
    state = published_state(model, 'original')
    state['transformer.encoder.layers.0.strange.weight'] = torch.zeros(1)
    del state['input_proj.bias']
    state['query_embed.weight'] = torch.zeros(7, 31)
    torch.save({'model': state}, tmp_path / 'in.pth')
    message = error_of(tmp_path / 'in.pth')
    for part in (
        'does not fit the DETR ResNet-18 model',
        '1 unknown:\n  transformer.encoder.layers.0.strange.weight',
        '1 missing:\n  input_proj.bias',
        '1 of another shape:\n  query_embed.weight (7, 31) instead of (7, 32)',
    ):
        assert part in message


def test_a_packed_projection_of_another_size_is_listed(model, tmp_path):
    state = published_state(model, 'original')
    name = 'transformer.encoder.layers.0.self_attn.in_proj_bias'
    state[name] = state[name][:-1]
    torch.save({'model': state}, tmp_path / 'in.pth')
    assert f'1 unknown:\n  {name}' in error_of(tmp_path / 'in.pth')


def test_other_files_are_refused(model, tmp_path):
    assert 'does not exist; give a published checkpoint' in error_of(tmp_path / 'none.pth')
    (tmp_path / 'text.pth').write_text('no checkpoint')
    assert 'cannot be read' in error_of(tmp_path / 'text.pth')
    (tmp_path / 'empty.pth').write_bytes(b'')
    assert 'cannot be read' in error_of(tmp_path / 'empty.pth')
    torch.save([1], tmp_path / 'list.pth')
    assert 'holds no weights by name' in error_of(tmp_path / 'list.pth')
    torch.save({'fc.weight': torch.zeros(3, 3)}, tmp_path / 'other.pth')
    assert 'is no DETR' in error_of(tmp_path / 'other.pth')
    torch.save({'meta': {}, 'state_dict': {}}, tmp_path / 'detkit.pth')
    assert 'it is a checkpoint of detkit' in error_of(tmp_path / 'detkit.pth')


def test_a_truncated_file_is_refused(model, tmp_path):
    for source in (
        write_original(tmp_path / 'zipped.pth', model),
        write_hub(tmp_path / 'hub', model),
        write_original(tmp_path / 'legacy.pth', model, zipped=False),
    ):
        source.write_bytes(source.read_bytes()[:-2000])
        assert str(source) in error_of(source)


def test_nothing_in_a_file_is_run(model, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / 'exploded',)

    for zipped in (True, False):
        source = tmp_path / f'{zipped}.pth'
        torch.save(
            {'model': published_state(model, 'original'), 'args': Bomb()}, source, _use_new_zipfile_serialization=zipped
        )
        if zipped:
            convert(source)
            (tmp_path / 'out.pth').unlink()
        else:
            assert 'cannot be read' in error_of(source)
    assert not (tmp_path / 'exploded').exists()


def test_another_backbone_is_refused(model, tmp_path):
    state = {name: value for name, value in published_state(model, 'original').items() if '.layer3.1.' not in name}
    torch.save({'model': state}, tmp_path / 'in.pth')
    assert (
        'has a backbone with (2, 2, 1, 2) blocks in its stages; detkit converts DETR on ResNet-18, 34, 50, 101.'
        in error_of(tmp_path / 'in.pth')
    )


def test_a_pickle_that_is_no_checkpoint_is_one_sentence(tmp_path, recwarn):
    (tmp_path / 'in.pth').write_bytes(pickle.dumps(Path('x'), protocol=4))
    assert 'cannot be read' in error_of(tmp_path / 'in.pth') and not recwarn.list


def test_a_damaged_config_beside_the_weights(model, tmp_path):
    source = write_hub(tmp_path, model)
    for text in ('{', '[]', '{"id2label": {"1": "a"}}'):
        (tmp_path / 'config.json').write_text(text)
        assert f'{tmp_path / "config.json"} is damaged' in error_of(source)


def test_a_config_of_another_family_is_refused(model, tmp_path):
    source = write_original(tmp_path / 'in.pth', model)
    assert 'describes no DETR' in error_of(source, config=CONFIGS / 'yolov8' / 'det_n_coco8.py')
    assert 'is missing, which describes the model' in error_of(source, config=tmp_path / 'none.py')


def test_the_file_itself_is_not_overwritten(model, tmp_path):
    source = write_original(tmp_path / 'in.pth', model)
    with pytest.raises(CheckpointError, match='is the file to be converted'):
        convert_detr(source, source, CONFIGS)


# Safetensors.


def test_safetensors_are_read(tmp_path):
    state = {
        'a': torch.arange(6.0).view(2, 3),
        'b': torch.tensor(3),
        'none': torch.zeros(0, 4),
        'c': torch.ones(2).half(),
    }
    path = write_safetensors(tmp_path / 'x', state)
    found = read_safetensors(path)
    assert is_safetensors(path) and list(found) == list(state)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items())


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (b'"data_offsets": [0, 24]', b'"data_offsets": [0, 99]'),
        (b'"data_offsets": [0, 24]', b'"data_offsets": [4, 24]'),
        (b'"shape": [2, 3]', b'"shape": [-2,3]'),
        (b'"dtype": "F32"', b'"dtype": "F99"'),
        (b'{"dtype', b'["dtype'),
        (b'"data_offsets": [0, 24]', b'"data_offsets": [-8,24]'[:23]),
    ],
)
def test_damaged_safetensors_are_refused(old, new, tmp_path):
    path = write_safetensors(tmp_path / 'x', {'a': torch.arange(6.0).view(2, 3)})
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    with pytest.raises(CheckpointError, match='is damaged|of other data types'):
        read_safetensors(path)


def test_what_begins_otherwise_is_no_safetensors(tmp_path):
    for data in (b'', b'12345678', np.array([5], '<u8').tobytes() + b'{}', b'\0' * 8 + b'x'):
        (tmp_path / 'x').write_bytes(data)
        assert not is_safetensors(tmp_path / 'x')
