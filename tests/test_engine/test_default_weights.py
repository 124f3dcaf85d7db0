"""Configs for one's own data start from published weights where licence and network let them, and say so where not."""

import re

import pytest
import torch
from builders import CONFIGS
from PIL import Image
from small_models import SHALLOW

from detkit.config import load_config
from detkit.engine import Runner, load_checkpoint, save_checkpoint
from detkit.registry import WEIGHTS_BY_NAME
from detkit.utils.errors import CheckpointError

pytestmark = pytest.mark.no_cover


@pytest.fixture
def train(tmp_path, capsys):
    for split in ('train', 'val'):
        for folder in ('images', 'labels'):
            (tmp_path / folder / split).mkdir(parents=True)
        for number in range(2):
            Image.new('RGB', (64, 64), 'gray').save(tmp_path / 'images' / split / f'{number}.png')
            (tmp_path / 'labels' / split / f'{number}.txt').write_text('0 0.5 0.5 0.5 0.5\n')
    (tmp_path / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [a]\n')

    def run(name, family='yolov8', **options):
        own = dict(data_yaml=str(tmp_path / 'data.yaml'), img_size=64, num_workers=0, batch_size=2, max_epochs=1)
        own |= {'default_hooks.pictures': None, **(SHALLOW if family == 'yolov8' else {})}
        config = load_config(CONFIGS / family / 'det_custom.py', {**own, **options, 'work_dir': str(tmp_path / name)})
        runner = Runner(config)
        runner.train()
        return runner, capsys.readouterr().out

    return run


def offer(monkeypatch, path, reason=''):
    """Let the zoo give this file for any name that is not asked for."""
    WEIGHTS_BY_NAME.import_from_location()
    asked = []

    def fetch(name):
        asked.append(name)
        return path, reason

    monkeypatch.setitem(WEIGHTS_BY_NAME.module_dict, 'fetch_unasked', fetch)
    return asked


def test_weights_that_need_a_word_are_named_and_not_taken(train, monkeypatch):
    monkeypatch.setenv('DETKIT_ZOO_URL', '')
    runner, printed = train('run', size='n')
    assert 'start    random weights: the weights yolov8n have the licence AGPL-3.0' in printed
    assert re.search(r'this run makes \d+\. .*load_from=yolov8n$', printed, re.M)
    assert runner.started_from == {} and 'from random weights: too few' in printed
    _, printed = train('none', default_load_from=None)
    assert 'start    ' not in printed


def test_weights_that_are_there_are_taken(train, monkeypatch, tmp_path):
    train('first', default_load_from=None)
    checkpoint = load_checkpoint(tmp_path / 'first' / 'last.pth')
    checkpoint = {'meta': checkpoint['meta'], 'state_dict': checkpoint['state_dict']}
    checkpoint['meta']['converted_from'] = {'project': 'test', 'licence': 'AGPL-3.0'}
    path = tmp_path / 'published.pth'
    torch.save(checkpoint, path)
    asked = offer(monkeypatch, path)
    _, printed = train('second', size='n')
    assert asked == ['yolov8n'] and 'load     yolov8n: ' in printed and 'start    ' not in printed
    assert 'from the weights of yolov8n: too few' in printed
    meta = load_checkpoint(tmp_path / 'second' / 'last.pth')['meta']
    assert meta['started_from'] == {'project': 'test', 'licence': 'AGPL-3.0', 'checkpoint': 'yolov8n'}

    # What a config names is taken instead, and the licence stays with what is trained from it.
    train('third', load_from=str(tmp_path / 'second' / 'last.pth'))
    assert len(asked) == 1
    meta = load_checkpoint(tmp_path / 'third' / 'last.pth')['meta']
    assert meta['started_from']['licence'] == 'AGPL-3.0'


def test_weights_that_do_not_fit_end_no_run(train, monkeypatch, tmp_path):
    train('first', default_load_from=None)
    offer(monkeypatch, tmp_path / 'first' / 'last.pth')
    _, printed = train('second', size='n', **{'model.neck': [dict(type='SPP')]})
    assert 'start    random weights: the weights yolov8n do not fit' in printed


@pytest.mark.thorough
def test_a_backbone_that_other_weights_replace_needs_none_of_its_own(train, monkeypatch, tmp_path):
    """Whether asked for or not; those that do not fit leave the backbone its own."""
    small = dict(family='fcos', size='r18', default_load_from=None, val_dataloader=None)
    small |= dict(val_cfg=None, val_evaluator=None)
    small |= {'model.backbone.out_indices': (1, 2, 3), 'model.neck.out_channels': 32}
    small |= {'+model.head.feat_channels': 32, '+model.head.num_convs': 1}
    train('first', pretrained=None, **small)
    own, last = str(tmp_path / 'gone.pth'), str(tmp_path / 'first' / 'last.pth')
    with pytest.raises(CheckpointError, match='gone.pth do not exist'):
        train('without', pretrained=own, **small)
    runner, printed = train('second', pretrained=own, load_from=last, **small)
    assert 'tensors loaded' in printed and runner.started_from['checkpoint'] == last

    offer(monkeypatch, tmp_path / 'first' / 'last.pth')
    train('third', pretrained=own, **{**small, 'default_load_from': 'some'})
    state = load_checkpoint(last)
    del state['state_dict'][next(reversed(state['state_dict']))]
    save_checkpoint(state, tmp_path / 'part.pth')
    offer(monkeypatch, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match='gone.pth do not exist'):
        train('fourth', pretrained=own, **{**small, 'default_load_from': 'some'})
