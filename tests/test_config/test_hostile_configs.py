"""A config that names what is in no registry is refused, and nothing is imported or run because of it."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_models import make_config, write_checkpoint

from detkit import registry
from detkit.config import check_config, load_config
from detkit.datasets.collate import collate
from detkit.engine import load_checkpoint, save_checkpoint
from detkit.engine.runner import Runner
from detkit.inference import Predictor
from detkit.registry import DETECTORS, refuse_unregistered
from detkit.utils.errors import ConfigError, DetkitError
from detkit.utils.limits import MAX_PIXELS

MARK = 'hostile_module_was_imported'

# Each writes a file when it is imported or called; a module that a scope's lookup would import is among them.
NAMES = (
    'os.system',
    'hostile',
    'hostile.run',
    'hostile.registry.run',
    'mmengine.hostile.run',
    'builtins.exec',
    'os:system',
    ' os.system',
    'detkit.models.heads.yolov8_head.YOLOv8Head',
    'subprocess.Popen',
    '',
)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with modules that leave a mark, and the path of that mark."""
    mark = tmp_path / MARK
    code = f'open({str(mark)!r}, "w").close()\ndef run(*args, **kwargs): open({str(mark)!r}, "w").close()\n'
    (tmp_path / 'hostile').mkdir()
    for name in ('__init__', 'registry', 'utils'):
        (tmp_path / 'hostile' / f'{name}.py').write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    for name in [name for name in sys.modules if name.split('.')[0] == 'hostile']:
        del sys.modules[name]


def component(name: str, mark: Path) -> dict:
    return {'type': name, 'command': f'touch {mark}', 'args': f'touch {mark}'}


def places(name: str, mark: Path) -> list[dict]:
    """Configs with a hostile component at every depth that something would build."""
    found = [{**make_config(), 'model': component(name, mark)}]
    for path in (
        ['backbone'],
        ['neck', 0],
        ['neck', 1],
        ['head'],
        ['head', 'assigner'],
        ['head', 'loss_bbox'],
        ['head', 'bbox_coder'],
        ['data_preprocessor'],
        ['backbone', 'act'],
        ['backbone', 'init_cfg'],
        ['head', 'init_cfg'],
        ['init_cfg'],
    ):
        config = make_config()
        node = config['model']
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = component(name, mark)
        found.append(config)
    pipeline = [component(name, mark)]
    found.append({**make_config(), 'test_dataloader': {'dataset': {'type': 'YOLODataset', 'pipeline': pipeline}}})
    return found


@pytest.mark.parametrize('name', NAMES)
def test_a_checkpoint_config_runs_nothing(name: str, trap: Path, tmp_path: Path):
    for config in places(name, trap):
        path = tmp_path / 'hostile.pth'
        save_checkpoint(
            {
                'meta': {
                    'format': 'detkit',
                    'format_version': 1,
                    'classes': list(config['classes']),
                    'task': 'seg',
                    'config': ''.join(f'{key} = {value!r}\n' for key, value in config.items()),
                },
                'state_dict': {'x': torch.zeros(1)},
            },
            path,
        )
        with pytest.raises(DetkitError):
            Predictor(None, path)
        with pytest.raises(ConfigError):
            check_config(config)
        with pytest.raises(ConfigError):
            DETECTORS.build(config['model'] if 'test_dataloader' not in config else component(name, trap))
    assert not trap.exists() and 'hostile' not in sys.modules


@pytest.mark.parametrize(
    'key',
    [
        'custom_hooks',
        'visualizer',
        'val_evaluator',
        'param_scheduler',
        'log_processor',
        'train_cfg',
        'optim_wrapper',
        'train_dataloader',
        'anything_else',
    ],
)
@pytest.mark.parametrize('name', NAMES[:4])
def test_a_runner_builds_nothing_of_it(key: str, name: str, trap: Path, tmp_path: Path):
    hostile = component(name, trap)
    value = {
        'custom_hooks': [hostile],
        'train_dataloader': {'dataset': {'dataset': hostile}},
        'optim_wrapper': {'optimizer': hostile},
    }.get(key, hostile)
    with pytest.raises(ConfigError, match='there is no component'):
        Runner(Config({**make_config(), 'work_dir': str(tmp_path / 'run'), key: value}))
    assert not trap.exists() and not (tmp_path / 'run').exists()


REGISTRIES = [name for name in dir(registry) if isinstance(getattr(registry, name), registry.Registry)]


@pytest.mark.parametrize('name', REGISTRIES)
def test_no_registry_imports_a_name(name: str, trap: Path):
    found = getattr(registry, name)
    for hostile in NAMES:
        assert found.get(hostile) is None
        with pytest.raises(ConfigError):
            found.build({'type': hostile})
    for known in found.names()[:1]:
        with pytest.raises(ConfigError, match='_scope_'):
            found.build({'type': known, '_scope_': 'hostile'})
    assert not trap.exists() and 'hostile' not in sys.modules


def test_a_foreign_scope_is_refused(trap: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="_scope_ is 'hostile'"):
        refuse_unregistered({'model': {'type': 'SingleStageDetector', '_scope_': 'hostile'}})
    path = tmp_path / 'config.py'
    path.write_text("default_scope = 'hostile'\n")
    with pytest.raises(ConfigError, match='default_scope'):
        load_config(path)
    with pytest.raises(ConfigError, match='default_scope'):
        Runner(Config({**make_config(), 'work_dir': str(tmp_path / 'run'), 'default_scope': 'hostile'}))
    assert not trap.exists()


def test_a_config_file_reaches_own_code_by_custom_imports_alone(trap: Path, tmp_path: Path):
    path = tmp_path / 'config.py'
    path.write_text("model = dict(type='hostile.run')\n")
    with pytest.raises(ConfigError, match=r"model.type: there is no .*'hostile.run'"):
        load_config(path)
    assert not trap.exists()
    path.write_text("custom_imports = dict(imports=['hostile'])\n")
    load_config(path)
    assert trap.exists()


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('part', 'key', 'value', 'reason'),
    [
        ('backbone', 'deepen_factor', 1e7, 'many times larger'),
        ('head', 'num_protos', 1 << 22, 'many times larger'),
        ('head', 'num_protos', 1 << 40, 'cannot be built'),
    ],
)
def test_a_checkpoint_config_builds_no_model_larger_than_its_weights(
    part: str, key: str, value: float, reason: str, tmp_path: Path
):
    path = write_checkpoint(tmp_path / 'x.pth')
    content = load_checkpoint(path)
    config = make_config()
    config['model'][part][key] = value
    content['meta']['config'] = ''.join(f'{name} = {own!r}\n' for name, own in config.items())
    save_checkpoint(content, path)
    with pytest.raises(DetkitError, match=reason):
        Predictor(None, path)


def _checkpoint_with(tmp_path: Path, config: dict) -> Path:
    path = write_checkpoint(tmp_path / 'x.pth')
    content = load_checkpoint(path)
    content['meta']['config'] = ''.join(f'{name} = {own!r}\n' for name, own in config.items())
    save_checkpoint(content, path)
    return path


def test_a_checkpoint_config_asks_for_no_more_bins_than_its_head_has(tmp_path: Path):
    config = make_config()
    config['model']['head']['bbox_coder'] = {'type': 'DistancePointBBoxCoder', 'reg_max': 1 << 40}
    with pytest.raises(ConfigError, match=f"bbox_coder.reg_max is {1 << 40}, but must be the head's reg_max"):
        Predictor(None, _checkpoint_with(tmp_path, config))


def test_a_checkpoint_config_raises_no_limit_of_images(tmp_path: Path):
    image = np.zeros((40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    resize = {'type': 'ResizeShortestEdge', 'size': 16000, 'max_size': 1 << 17}
    steps = [{'type': 'LoadImageFromFile', 'max_pixels': 1 << 60}, resize]
    steps += [{'type': 'Render'}, {'type': 'PackInputs'}]
    dataset = {'type': 'YoloTxtDataset', 'data_root': '', 'images': '', 'pipeline': steps}
    config = {**make_config(), 'test_dataloader': {'batch_size': 1, 'dataset': dataset}}
    predictor = Predictor(None, _checkpoint_with(tmp_path, config))
    assert predictor._preparation.max_pixels == MAX_PIXELS
    (sample,) = predictor(str(tmp_path / 'a.png'))
    assert '24000' in sample.skipped and 'pixels in the pipeline, more than 268,435,456' in sample.skipped


@pytest.mark.parametrize(
    ('step', 'values', 'message'),
    [
        (dict(size=10**6), {}, 'the size of LetterBox is 1000000, but .* DETKIT_MAX_PIXELS'),
        (dict(size=(64, 10**6)), {}, r'the size of LetterBox is \(64, 1000000\)'),
        (dict(size_divisor=10**6), {}, 'LetterBox takes size_divisor from 1 to 4096; found 1000000'),
        ({}, dict(fill=1000), 'Render takes fill from 0 to 255; found 1000'),
        ({}, dict(predict_cfg=5), 'predict_cfg is 5, but must hold thresholds by name'),
        ({}, dict(predict_cfg=dict(score_thr=7)), 'score_thr is 7'),
        ({}, dict(predict_cfg=dict(max_per_img='all')), "max_per_img is 'all'"),
    ],
    ids=str,
)
def test_values_of_a_checkpoint_s_config_are_refused_by_its_name(tmp_path, step, values, message):
    path = write_checkpoint(tmp_path / 'x.pth', 'det', narrow=True)
    content = load_checkpoint(path)
    fill = {'fill': values['fill']} if 'fill' in values else {}
    steps = [dict(type='LoadImageFromFile'), dict(type='LetterBox', **step), dict(type='Render', **fill)]
    dataset = dict(type='CocoDataset', ann_file='x.json', pipeline=[*steps, dict(type='PackInputs')])
    content['meta']['config'] += f'test_dataloader = {dict(dataset=dataset)!r}\n'
    if 'predict_cfg' in values:
        content['meta']['config'] += f'predict_cfg = {values["predict_cfg"]!r}\n'
    save_checkpoint(content, path)
    with pytest.raises(ConfigError, match=rf'(?s)x\.pth cannot be used: .*{message}'):
        Predictor(None, path, device='cpu')


def test_a_model_that_cannot_be_built_names_its_checkpoint(tmp_path):
    path = write_checkpoint(tmp_path / 'x.pth', 'det', narrow=True)
    content = load_checkpoint(path)
    content['meta']['config'] = content['meta']['config'].replace("'head': {", "'head': {'in_channels': (1, 2, 3), ")
    save_checkpoint(content, path)
    with pytest.raises(ConfigError, match=r'x\.pth cannot be used: .*in_channels'):
        Predictor(None, path, device='cpu')


def test_a_call_s_size_beyond_any_image_is_refused(tmp_path):
    path = write_checkpoint(tmp_path / 'x.pth', 'det', narrow=True)
    with pytest.raises(ConfigError, match='img_size is 1000000, but 1000000 x 1000000 are more than'):
        Predictor(None, path, device='cpu', img_size=10**6)


def test_padding_to_multiples_has_the_limit_of_images():
    sample = dict(inputs=torch.zeros(3, 4, 4, dtype=torch.uint8))
    with pytest.raises(ConfigError, match=r'padded to 32768 x 32768 by size_divisor=32768'):
        collate([sample], size_divisor=1 << 15)
