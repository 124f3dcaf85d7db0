"""Conversion of YOLOX's files: predictions as those of the reference, sizes, other classes, and what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from builders import CONFIGS, build_model
from conversions import converted, error_of, same_weights
from parity.yolox_shapes import (
    IOU_THR,
    PICTURE_MODELS,
    PICTURE_SIZE,
    SCORE_THR,
    picture,
    picture_state,
    yolox_state,
)
from yolox_files import their_shapes, write_pth

from detkit.converters.any_file import is_foreign, load_foreign
from detkit.converters.yolox import convert_yolox, load_yolox
from detkit.converters.yolox_keys import FOCUS_WEIGHT, YOLOX_KEYS
from detkit.datasets.class_names import COCO80
from detkit.engine.finetune import load_weights
from detkit.inference import Predictor

RECORDED = Path(__file__).parents[1] / 'parity' / 'yolox.npz'
SIZES = ('nano', 'tiny', 's', 'm', 'l', 'x', 'darknet53')


@pytest.fixture(scope='module')
def nano(tmp_path_factory) -> Path:
    return write_pth(tmp_path_factory.mktemp('yolox') / 'yolox_nano.pth', yolox_state(their_shapes('nano'), 1))


@pytest.mark.parametrize('size', PICTURE_MODELS)
def test_a_converted_file_predicts_as_the_reference(size, tmp_path):
    with np.load(RECORDED) as recorded:
        expected, seed = recorded[f'{size}.picture'], int(recorded['seed'])
    source = write_pth(tmp_path / 'in.pth', picture_state(their_shapes(size), seed))
    converted(convert_yolox, source, tmp_path / 'out.pth')
    cv2.imwrite(str(tmp_path / 'picture.png'), picture(seed))  # both take and write BGR
    options = dict(score_thr=SCORE_THR, iou_thr=IOU_THR, img_size=PICTURE_SIZE, max_per_img=1000)
    (result,) = Predictor(None, tmp_path / 'out.pth', device='cpu', **options).predict(tmp_path / 'picture.png')
    found = result.pred_instances
    assert len(found) == len(expected) > 20
    table = torch.cat([found.bboxes, found.scores[:, None], found.labels[:, None]], 1).numpy()
    # Of equal scores the order may differ.
    rows = [int(np.abs(table - row).max(1).argmin()) for row in expected]
    assert sorted(rows) == list(range(len(expected)))
    np.testing.assert_allclose(table[rows, :4], expected[:, :4], atol=5e-3)
    np.testing.assert_allclose(table[rows, 4], expected[:, 4], rtol=1e-3)
    assert (table[rows, 5] == expected[:, 5]).all()


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('size', SIZES)
def test_names_are_inverse_and_the_size_is_found(size, monkeypatch, tmp_path):
    keys = YOLOX_KEYS[size == 'darknet53']
    model = build_model('yolox_det', device='meta', size=size)
    names = [keys.to_theirs(ours) for ours in model.state_dict()]
    assert len(set(names)) == len(names) and [keys.to_detkit(theirs) for theirs in names] == list(model.state_dict())
    state = {name: torch.zeros(()).expand(shape) for name, shape in their_shapes(size, model).items()}
    monkeypatch.setattr('detkit.converters.yolox.read_state', lambda path: ({}, state))
    conversion = load_yolox(tmp_path / 'x.pth', CONFIGS)
    assert f'YOLOX {size}, 80 classes' in conversion.report[0]
    assert conversion.config_file == 'configs/yolox/det_coco.py' and conversion.config['size'] == size
    assert conversion.config['img_size'] == (416 if size in ('nano', 'tiny') else 640)
    assert {key: value.shape for key, value in conversion.state.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }


def test_the_report_names_config_and_commands(nano, tmp_path):
    checkpoint, report = converted(convert_yolox, nano, tmp_path / 'out.pth')
    assert checkpoint['meta']['classes'] == list(COCO80)
    assert checkpoint['meta']['converted_from'] == {'file': 'yolox_nano.pth', 'project': 'YOLOX'}
    assert '912,159 parameters' in report and 'size=nano' in report and 'yolox/det_custom' in report
    assert is_foreign(nano)
    assert same_weights(load_foreign(nano, CONFIGS).checkpoint(), checkpoint)


def test_other_classes_need_names_and_train_on(tmp_path):
    source = write_pth(tmp_path / 'in.pth', yolox_state(their_shapes('nano', num_classes=3), 1))
    assert 'has 3 classes without names, and COCO 80; give the names with --names' in error_of(convert_yolox, source)
    (tmp_path / 'two.txt').write_text('dog\ncat\n')
    assert 'has 3 classes, but' in error_of(convert_yolox, source, names=tmp_path / 'two.txt')
    (tmp_path / 'names.txt').write_text('dog\nbolt\ncat\n')
    checkpoint, report = converted(convert_yolox, source, tmp_path / 'out.pth', names=tmp_path / 'names.txt')
    assert checkpoint['meta']['classes'] == ['dog', 'bolt', 'cat'] and 'other classes' in report
    other = build_model('yolox_det', 2, size='nano')
    report = load_weights(other, checkpoint, ('cat', 'nut'))
    assert report.copied_classes == ['cat'] and not report.unused
    for level in range(3):
        before = checkpoint['state_dict'][f'head.cls_convs.{level}.weight']
        assert torch.equal(other.head.cls_convs[level].weight[0], before[2])


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda state: state.pop('head.obj_preds.0.weight'), '1 missing:\n  head.obj_preds.0.weight'),
        (lambda state: state.update({'head.more': torch.zeros(1)}), '1 unknown:\n  head.more'),
        (lambda state: state.update({'head.reg_preds.0.bias': torch.zeros(5)}), r'head.reg_preds.0.bias (5,) instead'),
        (lambda state: state.update({FOCUS_WEIGHT: torch.zeros(20, 12, 3, 3)}), 'has 20 channels behind its first'),
        (lambda state: state.update({FOCUS_WEIGHT: torch.zeros(16, 4, 3, 3)}), 'images of three channels are expected'),
        (lambda state: state.pop(FOCUS_WEIGHT), 'is no YOLOX: it lacks a first convolution'),
        (lambda state: state.pop('head.cls_preds.0.weight'), 'lacks head.cls_preds.0.weight'),
    ],
    ids=['missing', 'unknown', 'shape', 'size', 'channels', 'stem', 'classes'],
)
def test_another_file_is_a_clear_sentence(nano, tmp_path, change, expected):
    state = torch.load(nano, weights_only=True)['model']
    change(state)
    assert expected in error_of(convert_yolox, write_pth(tmp_path / 'in.pth', state))


def test_a_config_of_another_family_is_refused(nano):
    assert 'describes no YOLOX' in error_of(convert_yolox, nano, config=CONFIGS / 'yolov8' / 'det_coco.py')
