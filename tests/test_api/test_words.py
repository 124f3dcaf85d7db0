"""Attributes and arguments of other toolboxes, which are answered with detkit's; copies of a detector."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_models import write_checkpoint

from detkit import Detector
from detkit.config.words import ATTRIBUTE_HINTS
from detkit.inference import FolderOutputs, Predictor, Result, ResultFolder, Results
from detkit.utils.errors import ConfigError

IMG = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return Detector(write_checkpoint(tmp_path_factory.mktemp('weights') / 'seg.pth'), device='cpu')


@pytest.mark.parametrize(('kind', 'name'), [(kind, name) for kind, hints in ATTRIBUTE_HINTS.items() for name in hints])
def test_an_attribute_of_ultralytics_is_answered(model: Detector, kind: str, name: str, repo: Path):
    results = model(IMG, img_size=64)
    owner = {'Detector': model, 'Result': results[0], 'Results': results}[kind]
    with pytest.raises(AttributeError, match=re.escape(ATTRIBUTE_HINTS[kind][name])):
        getattr(owner, name)
    assert not hasattr(owner, name)
    page = (repo / 'docs' / 'from_ultralytics.md').read_text(encoding='utf-8').partition('## Attributes in Python')[2]
    assert re.search(rf'[.`]{name}\b', page), f'the page lacks {name}'


def test_a_mistyped_attribute_is_answered(model: Detector):
    with pytest.raises(AttributeError, match="'Result' object has no attribute 'score'. Did you mean 'scores'"):
        _ = model(IMG, img_size=64)[0].score
    with pytest.raises(AttributeError, match="object has no attribute 'xyzzy'$"):
        _ = model.xyzzy


@pytest.mark.parametrize(
    ('options', 'hint'),
    [
        ({'show_labels': False}, r'result\.plot\(labels=…\)'),
        ({'line_width': 2}, r'result\.plot\(line_width=…\)'),
        ({'save': True}, r"save\('folder'\) of the results"),
        ({'show': True}, r'show\(\) of a result'),
    ],
)
def test_options_of_a_drawing_are_no_options_of_a_prediction(model: Detector, options: dict, hint: str):
    with pytest.raises(TypeError, match=hint):
        model(IMG, **options)


def test_options_of_a_drawing(model: Detector, tmp_path: Path):
    results = model(IMG, img_size=64, score_thr=0.01)
    result = results[0]
    assert (result.plot(labels=False, scores=False, bboxes=False, masks=False) == IMG).all()
    assert (result.plot(masks=False) != result.plot()).any()
    for word, right in (('show_labels', 'labels'), ('show_conf', 'scores'), ('boxes', 'bboxes')):
        with pytest.raises(TypeError, match=f'write {right}='):
            result.plot(**{word: False})
    for wrong in (
        {'labels': 'no'},
        {'line_width': 0},
        {'line_width': 1.5},
        {'line_width': 10**6},
        {'color_by': 'x'},
        {'masks': None},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            result.save(tmp_path / 'x.jpg', **wrong)
    (written,) = results.save(tmp_path, scores=False, line_width=1)
    assert written.is_file()


def test_copies_predict_alike(model: Detector):
    expected = model(IMG, img_size=64).to_json()
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copied is not model and copied.model is not model.model and copied.classes == model.classes
        assert copied(IMG, img_size=64).to_json() == expected
    results = model(IMG, img_size=64)
    assert pickle.loads(pickle.dumps(results)).to_json() == copy.deepcopy(results).to_json() == expected


def _predict(model: Detector) -> str:
    return model(IMG, img_size=64).to_json()


@pytest.mark.thorough
def test_a_detector_goes_to_another_process(model: Detector):
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        assert pool.submit(_predict, model).result(timeout=120) == model(IMG, img_size=64).to_json()


def test_a_copy_of_a_random_model_has_its_weights():
    model = Detector('yolov8/det_n_coco8', device='cpu', options={'classes': ['a', 'b'], '+default_load_from': None})
    expected = model(IMG, img_size=64, score_thr=0).to_json()
    assert pickle.loads(pickle.dumps(model))(IMG, img_size=64, score_thr=0).to_json() == expected


@pytest.mark.parametrize('word', ['iterations', 'n_trials'])
def test_the_number_of_trials_is_named(model: Detector, word: str):
    with pytest.raises(TypeError, match='write num_trials='):
        model.tune({'mosaic_prob': [0, 1]}, **{word: 3})


@pytest.mark.parametrize(
    ('space', 'right'),
    [({'lr0': [0.01]}, 'optim_wrapper.optimizer.lr'), ({'epochs': [1]}, 'max_epochs'), ([1], 'is a dict such as')],
)
def test_a_search_space_in_other_words_is_answered(model: Detector, space: object, right: str):
    with pytest.raises(TypeError, match=re.escape(right)):
        model.tune(space)


@pytest.mark.parametrize(
    ('call', 'name'),
    [
        (lambda model: model(IMG, stream='no'), 'stream'),
        (lambda model: model(IMG, class_agnostic='yes'), 'class_agnostic'),
        (lambda model: model.train('data.yaml', resume='no'), 'resume'),
        (lambda model: model.val('data.yaml', amp='no'), 'amp'),
        (lambda model: ResultFolder('x', FolderOutputs(save_csv='no')), 'save_csv'),
        (lambda model: Predictor(model=model.model, fuse='no'), 'fuse'),
    ],
)
def test_a_switch_is_true_or_false(model: Detector, call: Callable, name: str):
    with pytest.raises(ConfigError, match=f"{name} is '(no|yes)', but must be True or False"):
        call(model)


def _switches(owner: type) -> list[tuple[str, str]]:
    """Return the methods of a class with those of their arguments that are True or False by default."""
    methods = dict(inspect.getmembers(owner, callable))
    return [
        (method, argument.name)
        for method in methods
        if method == '__call__' or not (method.startswith('_') or hasattr(list, method))
        for argument in inspect.signature(methods[method]).parameters.values()
        if isinstance(argument.default, bool) and argument.name != 'tta'  # a word names an augmentation
    ]


_FIRST = {'__call__': (IMG,), 'predict': (IMG,), 'track': (IMG,), 'save': ('x.jpg',), 'save_yolo': ('x',)}
_SWITCHES = [(owner, *pair) for owner in (Detector, Result, Results) for pair in _switches(owner)]


@pytest.mark.parametrize(
    ('kind', 'method', 'name'),
    [pytest.param(*case, id=f'{case[0].__name__}-{case[1]}-{case[2]}') for case in _SWITCHES],
)
def test_every_switch_refuses_words(model: Detector, kind: type, method: str, name: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = model(IMG, img_size=64)
    owner = {Detector: model, Result: results[0], Results: results}[kind]
    for word in ('yes', 'no', '0', '1', 2):
        with pytest.raises(ConfigError, match=f'^{name} is {word!r}'):
            getattr(owner, method)(*_FIRST.get(method, ()), **{name: word})
    assert list(tmp_path.iterdir()) == []


def test_the_switches_were_found():
    assert len(_SWITCHES) > 35
    assert {('train', 'resume'), ('val', 'amp'), ('export', 'nms'), ('save_yolo', 'scores'), ('track', 'stream')} <= {
        case[1:] for case in _SWITCHES
    }


@pytest.mark.parametrize('amp', ['yes', 'no', '1', 2])
def test_mixed_precision_is_named_as_it_was_given(model: Detector, amp: object):
    for call in (lambda: model.train('data.yaml', amp=amp), lambda: model.tune({'mosaic_prob': [0, 1]}, amp=amp)):
        with pytest.raises(ConfigError, match=f'^amp is {amp!r}; it must be'):
            call()


def test_zero_is_false(model: Detector):
    for off in (0, np.False_):
        assert Predictor(model=model.model, amp=off)._dtype is None


def test_margins_are_numbers(model: Detector):
    for margin in ('a', -0.1, None, float('nan')):
        with pytest.raises(ConfigError, match='^margin is '):
            model(IMG, img_size=64)[0].crops(margin)


@pytest.mark.parametrize('task', ['det', 'cls'])
def test_a_config_without_data_asks_for_data(task: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Detector(f'yolov8/{task}_n_custom', device='cpu')
    for call in (model.train, model.val, model.config, lambda: model.tune({'mosaic_prob': [0, 1]})):
        with pytest.raises(ConfigError, match=f'yolov8/{task}_n_custom has no data of its own; give data=: the path'):
            call()
    with pytest.raises(ConfigError, match="there is no data_yaml 'gone.yaml'|no folder 'train' in 'gone.yaml'"):
        model.config(options={'data_yaml' if task == 'det' else 'data_root': 'gone.yaml'})
    assert list(tmp_path.iterdir()) == []


def test_a_refused_path_is_the_one_that_was_given(model: Detector):
    result = model(IMG, img_size=64)[0]
    for path in ('/proc/x.jpg', '/proc/self/x.png'):
        with pytest.raises(OSError, match=re.escape(repr(path))):
            result.save(path)
