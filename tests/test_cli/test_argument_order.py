"""Files in the place of others: the error says what they are, and the order of the arguments."""

import re

import pytest

from detkit.cli.main import COMMANDS, find_command
from detkit.cli.main import main as detkit
from detkit.engine.checkpoint import load_checkpoint
from detkit.utils.errors import CheckpointError

CONFIG = 'yolov8/seg_n_coco8'
ORDER = 'The order of the arguments is detkit predict CONFIG CHECKPOINT SOURCE'


def error_of(words: str, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        detkit(words.split())
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (f'predict {CONFIG} photo.jpg best.pth', f'photo.jpg is a picture, where CHECKPOINT is expected, .*{ORDER}'),
        (f'predict best.pth {CONFIG} photo.jpg', f'best.pth is a file of weights, where CONFIG is .*{ORDER}'),
        (
            'predict best.pth photo.jpg',
            f"weights, where CONFIG is expected, .*'-' for CONFIG takes the config .*{ORDER}",
        ),
        (f'predict {CONFIG} {CONFIG} photo.jpg', f'{CONFIG} is a config, where CHECKPOINT is expected, .*{ORDER}'),
        (f'predict {CONFIG} config.py photo.jpg', 'config.py is a config, where CHECKPOINT is expected'),
        (f'predict {CONFIG} pictures photo.jpg', 'pictures is a folder, where CHECKPOINT is expected'),
        (f'predict {CONFIG} best.pth photo.jpg last.pth', 'last.pth is a file of weights, where SOURCE is expected'),
        (f'predict {CONFIG} clip.mp4 best.pth', 'clip.mp4 is a video, where CHECKPOINT is expected'),
        ('predict data.yaml best.pth photo.jpg', 'data.yaml is a description of data, where CONFIG is expected'),
        (f'test best.onnx {CONFIG}', 'The order of the arguments is detkit test CONFIG CHECKPOINT'),
        (f'test {CONFIG} instances.json', 'instances.json is a description of data, where CHECKPOINT is expected'),
        ('predict', 'the following arguments are required: config, checkpoint, source'),
        ('train best.pth', 'weights to start from are given by --cfg-options load_from=best.pth'),
        (
            'train data.yaml',
            'data are given by --cfg-options data_yaml=data.yaml of a config such as yolov8/det_custom',
        ),
        ('compare photo.jpg', 'photo.jpg is a picture, where CONFIG is expected'),
        ('track clip.mp4 best.pth', 'The order of the arguments is detkit track MODEL SOURCE'),
        ('export photo.jpg', 'photo.jpg is a picture, where MODEL is expected'),
        (
            f'analyze compare {CONFIG} best.pth best.pth {CONFIG}',
            'best.pth is a file of weights, where CONFIG is expected',
        ),
        (f'analyze feature-maps {CONFIG} photo.jpg', 'detkit analyze feature-maps CONFIG CHECKPOINT SOURCE'),
    ],
)
def test_a_file_in_the_place_of_another(words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'pictures').mkdir()
    assert re.search(text, error_of(words, capsys))


def test_right_orders_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('run', 'model.mlpackage', 'pictures'):
        (tmp_path / name).mkdir()
    (tmp_path / 'run' / 'best.pth').touch()
    for words in (
        'predict - run photo.jpg pictures',
        f'predict {CONFIG} model.mlpackage http://host/list.json',
        f'predict {CONFIG} yolov8n clip.mp4',
        f'track {CONFIG} clip.mp4',
        'convert-dataset config.py --to coco --out x',
        'analyze summarize-runs run',
    ):
        name = next(name for name in COMMANDS if words.startswith(f'{name} '))
        find_command(name).parse_args(words[len(name) :].split())


def test_a_picture_is_no_truncated_checkpoint(tmp_path):
    path = tmp_path / 'photo.jpg'
    path.write_bytes(b'\xff\xd8\xff')
    with pytest.raises(
        CheckpointError, match='photo.jpg is a picture, where a checkpoint is expected. The config comes'
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ('words', 'option', 'reason', 'remedy'),
    [
        (f'test {CONFIG} best.pth', '--score-thr 0.5', 'without --show-dir', '--show-dir x'),
        (f'analyze dataset-stats {CONFIG}', '--max-images 3', 'without the page of --out', '--out x.html'),
        (f'analyze dataset-stats {CONFIG}', '--batch-size 3', 'without --checkpoint', '--checkpoint best.pth'),
        (f'analyze dataset-stats {CONFIG} --no-near-duplicates', '--max-distance 3', 'with --no-near-dupl', None),
        (f'analyze feature-maps {CONFIG} best.pth a.jpg', '--channels 3', 'without --method maps', '--method maps'),
        (f'analyze feature-maps {CONFIG} best.pth a.jpg --method maps', '--class a', 'without --method gradcam', None),
        (f'analyze browse-dataset {CONFIG} --indices 3', '--number 2', 'with --indices', None),
        ('serve best.pth', '--allow-private-urls', 'without --allow-urls', '--allow-urls host'),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(words, option, reason, remedy, capsys):
    name = next(name for name in COMMANDS if words.startswith(f'{name} '))
    assert f'{option.split()[0]} has no effect {reason}' in error_of(f'{words} {option}', capsys)
    find_command(name).parse_args(words[len(name) :].split())
    if remedy:
        find_command(name).parse_args(f'{words[len(name) :]} {option} {remedy}'.split())
