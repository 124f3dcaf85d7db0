"""The Hub's ``preprocessor_config.json``: which options of a config it becomes, and what no option gives."""

from __future__ import annotations

import json

import pytest
from builders import CONFIGS

from detkit.config import load_config
from detkit.converters.hub_input import input_options
from detkit.utils.errors import CheckpointError

RTDETR, RFDETR, DETR = (CONFIGS / family / 'det_coco.py' for family in ('rtdetr', 'rfdetr', 'detr'))
IMAGENET = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225], 'rescale_factor': 1 / 255}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def square(side: int) -> dict:
    return {'size': {'height': side, 'width': side}}


def edges(short: int, long: int) -> dict:
    return {'size': {'shortest_edge': short, 'longest_edge': long}}


@pytest.mark.parametrize(
    ('file', 'said', 'options'),
    [
        (RTDETR, {}, {}),
        (RTDETR, {**square(640), **IMAGENET, 'do_normalize': False, 'resample': 2, 'do_pad': True}, {}),
        (RTDETR, square(480), {'img_size': 480}),
        (
            RTDETR,
            {**IMAGENET, 'do_normalize': True},
            {'+model.data_preprocessor.mean': MEAN, '+model.data_preprocessor.std': STD},
        ),
        (RTDETR, {'do_normalize': False, 'do_rescale': False}, {'+model.data_preprocessor.std': (1.0,) * 3}),
        (RFDETR, {**square(384), **IMAGENET, 'do_normalize': True}, {}),
        (RFDETR, {**square(560), 'do_normalize': False}, {
            'img_size': 560, 'model.data_preprocessor.mean': (0.0,) * 3, 'model.data_preprocessor.std': (255.0,) * 3
        }),
        (DETR, {**edges(800, 1333), **IMAGENET, 'do_normalize': True}, {}),
        (DETR, {'size': 800, 'max_size': 1333}, {}),  # of old releases
        (DETR, edges(480, 600), {'img_size': 480, 'max_size': 600}),
        (DETR, edges(800, 1000), {'img_size': 800, 'max_size': 1000}),
        (DETR, square(512), {'keep_ratio': False, 'img_size': 512}),
    ],
)  # fmt: skip
def test_input_is_that_of_the_preprocessor(file, said, options, tmp_path):
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(said))
    assert input_options(tmp_path / 'model.safetensors', file, {'predict_cfg.score_thr': 0.5}) == (options, [])
    load_config(file, options, need_classes=False)


@pytest.mark.parametrize(
    ('said', 'shown'),
    [
        ({'size': {'height': 384, 'width': 640}}, "size {'height': 384, 'width': 640}"),
        ({'size': {'max_height': 600, 'max_width': 600}}, "size {'max_height': 600, 'max_width': 600}"),
        ({**square(600), 'do_pad': True, 'pad_size': {'height': 640, 'width': 640}}, 'do_pad True, pad_size'),
        ({'do_resize': False}, 'do_resize False'),
        ({**edges(600, 480)}, "size {'shortest_edge': 600, 'longest_edge': 480}"),
        ({**square(640), 'resample': 3}, 'resample 3'),
        ({'size': 'large'}, 'size large'),
    ],
)
def test_what_no_option_gives_is_said(said, shown, tmp_path):
    (tmp_path / 'preprocessor_config.json').write_text(json.dumps(said))
    options, notes = input_options(tmp_path / 'model.safetensors', RTDETR, {})
    assert options == {} and len(notes) == 1
    assert 'preprocessor_config.json changes images as no option of the config does' in notes[0] and shown in notes[0]


@pytest.mark.parametrize(
    'text', ['[]', '{', '{"image_mean": 3}', '{"image_std": [0, 1, 1]}', '{"rescale_factor": "a"}']
)
def test_a_damaged_file_is_refused(text, tmp_path):
    (tmp_path / 'preprocessor_config.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'preprocessor_config.json is damaged'):
        input_options(tmp_path / 'model.safetensors', RTDETR, {})
