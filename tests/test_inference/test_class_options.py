"""The forms in which a call names classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detkit import Detector
from detkit.export.settings import ExportSettings
from detkit.inference import PredictionOptions
from detkit.utils.errors import ConfigError

IMAGE = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize('options', [PredictionOptions, ExportSettings])
@pytest.mark.parametrize(
    ('given', 'kept'),
    [
        (None, None),
        ('nut', ('nut',)),
        (('nut', 'bolt'), ('nut', 'bolt')),
        ((name for name in ('nut', 'bolt')), ('nut', 'bolt')),
        (np.array(['nut', 'bolt']), ('nut', 'bolt')),
        ({'nut', 'bolt'}, ('bolt', 'nut')),
        ({'nut': 1, 'bolt': 2}.keys(), ('nut', 'bolt')),
        (3, (3,)),
        (np.int64(3), (3,)),
        (torch.tensor([3, 0]), (3, 0)),
    ],
)
def test_classes_are_kept_as_a_tuple(options, given, kept):
    given = (name for name in kept) if type(given).__name__ == 'generator' else given  # each test reads its own
    assert options(classes=given).classes == kept


@pytest.mark.parametrize('options', [PredictionOptions, ExportSettings])
@pytest.mark.parametrize(
    ('given', 'text'),
    [
        ([], 'classes is empty'),
        (np.array([]), 'classes is empty'),
        (1.5, 'classes is 1.5, but must be names or numbers'),
        (b'nut', "classes is b'nut', but must be names or numbers"),
        ({0: 'nut'}, 'classes is .* but must be names or numbers'),
        (['nut', None], r'classes\[1\] is None, but must be the name or the number'),
        ([b'nut'], r"classes\[0\] is b'nut', but must be"),
        ([True], r'classes\[0\] is True, but must be'),
        (np.array([0.5]), r'classes\[0\] is 0.5, but must be'),
    ],
)
def test_what_names_no_class_is_said(options, given, text):
    with pytest.raises(ConfigError, match=text):
        options(classes=given)


def test_an_open_vocabulary_takes_names_of_an_array_and_an_iterator():
    model = Detector('yolo_world/det_s_coco8', options={'widen_factor': 0.25}, device='cpu')
    for names in (np.array(['red bolt', 'nut']), iter(['red bolt', 'nut'])):
        assert model(IMAGE, classes=names, img_size=64)[0].classes == ('red bolt', 'nut')
    for wrong in ([0], [None], [b'nut']):
        with pytest.raises(ConfigError, match=r'classes\[0\] is .*, but must be a name'):
            model.set_classes(wrong)


def test_a_runtime_of_an_open_vocabulary_says_that_its_classes_are_fixed(monkeypatch, tmp_path):
    pytest.importorskip('onnxruntime')
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path))
    model = Detector(
        'yolo_world/det_s_coco8', options={'widen_factor': 0.125, 'img_size': 64}, runtime='onnx', device='cpu'
    )
    text = 'runs as an exported file, whose classes are fixed: others need the checkpoint, without a runtime'
    with pytest.raises(ConfigError, match=f"no class 'nut' among .*{text}"):
        model(IMAGE, classes=['nut'])
    with pytest.raises(ConfigError, match=text):
        model.set_classes(['nut'])
    with pytest.raises(ConfigError, match=r"from 0 to 79\. Did you mean 'donut'\?$"):
        Detector('yolov8/det_n_coco8', device='cpu')(IMAGE, classes=['nut'])
