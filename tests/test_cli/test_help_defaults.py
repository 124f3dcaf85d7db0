"""Defaults in the help of the commands, which must be those that the commands use."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detkit.analysis.speed.prediction_speed import draw_images
from detkit.cli.command import Command
from detkit.cli.main import COMMANDS
from detkit.datasets.transforms.loading import read_image
from detkit.inference import PredictionOptions
from detkit.inference.tracking import with_low_scores

# How a help says a default that needs explaining.
WORDS = {'127.0.0.1': 'this machine alone', '0.195312': '0.195, 200 of 1024 pixels', '0': '0, none'}


def arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.Action, str]]:
    """Yield the arguments of a command, with the default that the help of each states."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from arguments(child)
            continue
        text = parser._get_formatter()._expand_help(action) if action.help else ''
        stated = re.search(r'\(default: (.*?)\)(?=$|[ ;,.])|; default: (.*)$', text)
        if stated is not None:
            yield action, stated[1] or stated[2]
        else:
            assert 'default:' not in text, f'{action.dest}: {text}'


def as_said(value: Any) -> str:
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    if isinstance(value, list):
        return ' '.join(map(as_said, value))
    return f'{value:g}' if isinstance(value, float) else str(value)


@pytest.mark.parametrize('name', COMMANDS)
def test_a_default_that_the_help_states_is_the_parsers(name: str):
    for action, stated in arguments(Command(name).parser()):
        if action.default not in (None, []):
            said = as_said(action.default)
            assert stated in (said, WORDS.get(said)), f'detkit {name} {action.dest}'


def used_instead_of_none(name: str, folder: Path) -> dict[str, Any]:
    """Return what a command uses where an argument is None, by the argument's name."""
    if name in ('track', 'count'):
        options = with_low_scores(PredictionOptions()).with_thresholds({})
        return {key: f'{getattr(options, key):g}' for key in ('score_thr', 'iou_thr', 'max_per_img')}
    if name == 'tune':
        settings = pytest.importorskip('detkit.tuning.study').StudySettings()
        return {
            'trials': settings.num_trials,
            'seed': settings.seed,
            'sampler': settings.sampler,
            'pruner': settings.pruner,
        }
    if name == 'analyze benchmark':
        height, width, _ = read_image(draw_images(folder)[0]).shape
        return {'images': f'{height} x {width}'}
    if name == 'analyze browse-dataset':
        return {'seed': 0}
    options = PredictionOptions().with_thresholds({})
    return {key: f'{getattr(options, key):g}' for key in ('score_thr', 'iou_thr', 'max_per_img')}


@pytest.mark.parametrize('name', COMMANDS)
def test_a_number_that_the_help_states_is_used(name: str, tmp_path: Path):
    used = used_instead_of_none(name, tmp_path)
    for action, stated in arguments(Command(name).parser()):
        if action.default in (None, []) and (action.dest in used or re.search(r'(?<![\w-])\d', stated)):
            assert re.search(rf'(^|[ ,]){re.escape(str(used[action.dest]))}$', stated), f'detkit {name} {action.dest}'
