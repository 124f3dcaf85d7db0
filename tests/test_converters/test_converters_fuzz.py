"""Damaged and forged files of other projects: every one is read or refused with a sentence, and none runs anything."""

import itertools
import json
import pickle
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from detr_files import published_state, small_detr, write_original, write_safetensors
from fuzz_strategies import AMOUNTS, ODD_WORDS, damaged, odd_words, replaced, run_fuzz, values
from hypothesis import strategies as st
from parity.darknet_streams import cfg_path
from test_inert_pickle import HAND_WRITTEN, write_archive

from detkit.converters import pickled_model
from detkit.converters.darknet import convert_darknet, read_stream
from detkit.converters.darknet_layout import parse_cfg
from detkit.converters.detr_file import read_detr
from detkit.converters.inert_pickle import _ALLOWED, StandIn, TensorRef, TorchArchive
from detkit.converters.pickled_model import read_model
from detkit.converters.torchvision_model import current_names, find_model
from detkit.converters.ultralytics import read_ultralytics
from detkit.converters.yolov5 import read_yolov5
from detkit.utils.errors import CheckpointError
from detkit.utils.safetensors_file import is_safetensors, read_safetensors

STATE = {'a.weight': torch.arange(6.0).view(2, 3), 'b': torch.tensor([1, 2]), 'c': torch.zeros(0)}


def stands_for_code(value: object) -> bool:
    """Return whether a value is what a name in a file becomes: a stand-in, its class, or what a known name is."""
    kind = value if isinstance(value, type) else type(value)
    return issubclass(kind, StandIn) or any(value is known for known in _ALLOWED.values())


@pytest.mark.parametrize('cases', AMOUNTS)
def test_pickles(tmp_path, cases):
    mark = tmp_path / 'mark'
    mark_text = str(mark).encode()
    plain = pickle.dumps({'epoch': 3, 'opt': {'imgsz': [640, 480]}, 'names': {0: 'a'}, 'model': [Path('x')]}, 2)
    forged = [text.replace(b'%s', b'touch ' + mark_text) for text in HAND_WRITTEN.values()]

    def check(changed: bytes) -> None:
        try:
            with TorchArchive(write_archive(tmp_path / 'x.pt', changed)) as archive:
                assert not callable(archive.content) or stands_for_code(archive.content)
        finally:
            assert not mark.exists()

    run_fuzz(cases, damaged(st.sampled_from([plain, *forged])), check, named=tmp_path / 'x.pt')


def places(content: object) -> list[tuple[object, object]]:
    """Return each container that a file's content holds, with each of its keys; a stand-in's ``state`` is one."""
    found, waiting, seen = [], [content], set()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, StandIn):
            found.append((value, None))
            waiting.append(value.state)
        elif isinstance(value, dict):
            found += [(value, key) for key in value]
            waiting += value.values()
    return found


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('family', 'read'), [('yolov5', read_yolov5), ('ultralytics', read_ultralytics)], ids=['yolov5', 'ultralytics']
)
@pytest.mark.parametrize('cases', AMOUNTS)
def test_values_in_pickled_models(request, monkeypatch, family, read, cases):
    path = request.getfixturevalue(f'write_{family}')()
    monkeypatch.setattr(pickled_model, 'sizes_of', cache(pickled_model.sizes_of))  # always the same ones
    with TorchArchive(path) as archive:
        content = archive.content
        own = places(content)
        # A model has hundreds of equal places, and few that are of one kind.
        telling = [
            place for place in own if place[1] in ('names', 'yaml', 'stride', 'nc', 'f', 'imgsz', 'anchors', 'ema')
        ]
        refs = st.builds(
            lambda size, offset, numel: TensorRef(
                next(iter(_refs(own))).storage._replace(numel=numel), offset, size, size
            ),
            st.lists(st.integers(0, 4) | st.just(1 << 40), max_size=4).map(tuple),
            st.integers(0, 9),
            st.integers(0, 9),
        )
        model = content.get('ema') or content['model']
        others = st.one_of(values, refs, st.just(model), st.just(StandIn()), st.lists(values, max_size=3).map(tuple))

        def check(drawn) -> None:
            (container, key), change = drawn
            if isinstance(container, StandIn):
                before, container.state = container.state, change
            else:
                before, container[key] = container[key], change
            try:
                pickled = read_model(archive, read)
                assert all(isinstance(name, str) for name in pickled.classes)
                pickled.find_scale(CONFIGS / pickled.config)
            finally:
                if isinstance(container, StandIn):
                    container.state = before
                else:
                    container[key] = before

        run_fuzz(cases, st.tuples(st.sampled_from(own) | st.sampled_from(telling), others), check, named=path)


def _refs(own):
    return (container[key] for container, key in own if key is not None and isinstance(container[key], TensorRef))


@pytest.mark.parametrize('cases', AMOUNTS)
def test_safetensors(tmp_path, cases):
    path = write_safetensors(tmp_path / 'x.safetensors', STATE)
    data = path.read_bytes()
    (length,) = struct.unpack('<Q', data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    entry = header['a.weight']
    entries = replaced(entry, values | st.sampled_from([[2, 3, -1], [1 << 62, 1 << 62], [[0], 24], [0.0, 24.0], 'F32']))
    headers = st.one_of(
        replaced(header, values), entries.map(lambda changed: {**header, 'a.weight': changed}), values
    ).map(lambda content: json.dumps(content).encode())
    files = headers.map(lambda text: struct.pack('<Q', len(text)) + text + body) | damaged(st.just(data))

    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        if is_safetensors(path):
            found = read_safetensors(path)
            assert sum(tensor.numel() for tensor in found.values()) <= len(changed)
        else:
            raise CheckpointError(f'{path} is none')

    run_fuzz(cases, files, check, named=path)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_detr_files(tmp_path, cases):
    path = tmp_path / 'x.pth'
    state = published_state(small_detr(), 'original')
    some = dict(itertools.islice(state.items(), 3)) | {
        name: value for name, value in state.items() if 'class' in name or 'in_proj' in name
    }
    write_original(path, small_detr(), args={'nheads': 1, 'dilation': True})
    tensors = st.sampled_from([torch.zeros(()), torch.zeros(0, 3), torch.zeros(7), torch.zeros(3, 2, dtype=torch.long)])
    plain = values.filter(lambda value: 'inf' not in repr(value)) | tensors
    contents = st.one_of(
        replaced(some, plain).map(lambda own: {'model': own}),
        replaced(some, plain),
        replaced({'model': some, 'args': None, 'epoch': 3}, plain),
        plain,
    )
    configs = replaced({'id2label': {'0': 'a'}, 'dilation': False, 'encoder_attention_heads': 8}, values)
    beside = configs.map(lambda config: json.dumps(config).encode())

    def check(drawn) -> None:
        content, zipped, config = drawn
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        (tmp_path / 'config.json').write_bytes(config)
        found = read_detr(path)
        assert all(isinstance(tensor, torch.Tensor) for tensor in found.tensors.values())

    run_fuzz(cases, st.tuples(contents, st.booleans(), damaged(beside)), check, named=tmp_path)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_torchvision_s_tensors(cases):
    tensors = {f'backbone.body.layer{stage}.{block}.x': torch.zeros(1) for stage in range(1, 5) for block in range(2)}
    predictors = (
        'roi_heads.box_predictor.cls_score',
        'rpn.head.cls_logits',
        'roi_heads.keypoint_head.0',
        'roi_heads.keypoint_predictor.kps_score_lowres',
        'head.classification_head.cls_logits',
        'head.regression_head.bbox_reg',
        'head.regression_head.bbox_ctrness',
    )
    tensors |= {f'{name}.{kind}': torch.zeros(9, 2) for name in predictors for kind in ('weight', 'bias')}
    odd = st.sampled_from([torch.zeros(()), torch.zeros(0, 3), torch.zeros(7), torch.zeros(1)])
    names = st.sets(st.sampled_from([*tensors, 'backbone.body', 'roi_heads.mask_head.mask_fcn1.bias', 'module.']))

    def check(drawn) -> None:
        state, without = drawn
        found = find_model(current_names({k: v for k, v in state.items() if k not in without}), Path('x.pth'))
        assert found.num_labels > 0 and found.num_anchors >= 0

    states = replaced(tensors, odd).filter(lambda state: isinstance(state, dict))
    run_fuzz(cases, st.tuples(states, names), check, named='x.pth')


@pytest.mark.parametrize('cases', AMOUNTS)
def test_darknet_weights(tmp_path, cases):
    path = tmp_path / 'x.weights'
    data = np.array([0, 2, 5, 0, 0], '<i4').tobytes() + np.arange(9, dtype='<f4').tobytes()
    versions = st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 5), max_size=8)
    headers = versions.map(lambda numbers: np.array(numbers, '<i4').tobytes())

    def check(changed: bytes) -> None:
        path.write_bytes(changed)
        header, numbers = read_stream(path)
        assert 0 < 4 * len(numbers) <= len(changed) and header.major < 1000

    run_fuzz(cases, damaged(st.just(data)) | headers, check, named=path)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_darknet_cfgs(cases):
    text = cfg_path('yolov3_tiny').read_text()
    lines = text.splitlines()
    odd = odd_words.filter(lambda word: len(word) < 1000)

    @st.composite
    def texts(draw):
        changed = list(lines)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(lines) - 1))
            key = lines[at].partition('=')[0] + '=' if draw(st.booleans()) else ''
            changed[at] = key + draw(odd)
        return '\n'.join(changed)

    bytes_of = damaged(st.just(text.encode())).map(lambda data: data.decode(errors='replace'))

    def check(drawn: str) -> None:
        net, layers = parse_cfg(drawn, 'x.cfg')
        assert net.number('width', 0) < 1e9 and all(layer.facts() is not None for layer in layers)

    run_fuzz(cases, texts() | bytes_of, check, named='x.cfg')


@pytest.mark.default_cases(18)
@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('classes=80', 'classes=99999999999'),
        ('classes=80', 'classes=100000000'),
        ('classes=80', 'classes=-3'),
        ('classes=80', 'classes=nan'),
        ('width=608', 'width=99999999'),
        ('width=608', 'width=-32'),
        ('10,14, 23,27', '1e400,nan'),
        ('mask', 'mask = 1e9\nx'),
        ('filters=255', 'filters=' + '9' * 400),
        *(('classes=80', f'classes={word}') for word in ODD_WORDS if len(word) < 100),
    ],
)
def test_cfgs_that_describe_no_model(tmp_path, old, new):
    cfg, weights = tmp_path / 'x.cfg', tmp_path / 'x.weights'
    cfg.write_text(cfg_path('yolov3_tiny').read_text().replace(old, new), errors='replace')
    weights.write_bytes(np.array([0, 2, 5, 0, 0], '<i4').tobytes() + bytes(400))
    with pytest.raises(CheckpointError):
        convert_darknet(weights, tmp_path / 'x.pth', CONFIGS, cfg)
    assert not (tmp_path / 'x.pth').exists()
