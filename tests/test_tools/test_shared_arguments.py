"""Arguments that commands share stand once."""

import argparse
import contextlib
from itertools import combinations

import pytest

from detkit.cli.arguments import add_shared_arguments, level, overlap, real, seed, whole
from detkit.cli.main import COMMANDS, find_command, main

_MAX_COMMON = 9  # lines in a row that two commands may have in common


def test_no_two_commands_share_ten_lines(repo):
    runs = {}
    for path in sorted((repo / 'detkit' / 'cli').rglob('*.py')):
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        runs[path] = {tuple(lines[i : i + _MAX_COMMON + 1]) for i in range(len(lines) - _MAX_COMMON)}
    assert len(runs) > 20
    assert [pair for pair in combinations(runs, 2) if runs[pair[0]] & runs[pair[1]]] == []


def test_arguments_come_in_the_order_asked_for():
    parser = argparse.ArgumentParser()
    add_shared_arguments(parser, 'config', 'checkpoint', '--iou-thr')
    args = parser.parse_args(['a.py', 'b.pth', '--iou-thr', '0.7'])
    assert (args.config, args.checkpoint, args.iou_thr) == ('a.py', 'b.pth', 0.7)
    with pytest.raises(KeyError):
        add_shared_arguments(parser, '--unheard-of')


def test_files_of_results_refuse_the_name_of_another_kind_of_file(tmp_path, capsys):
    """``--out best.pth`` and ``--csv notes.txt`` would replace what is there by a file that is nothing of the kind."""
    found = set()
    for name in COMMANDS:
        parser = find_command(name).parser()
        for action in parser._actions:
            option = next((text for text in action.option_strings if text in ('--out', '--json', '--csv')), None)
            if option is None or action.metavar in ('FOLDER', 'DIR') or name == 'export':  # export has a format to ask
                continue
            found.add((name, option))
            with pytest.raises(SystemExit):
                parser.parse_args([option, 'runs/best.pth'])
            assert f"argument {option}: 'runs/best.pth' would be a " in capsys.readouterr().err
            assert action.type('/dev/stdout') == '/dev/stdout'
    assert {name for name, _ in found} >= {'test', 'check', 'analyze compare', 'analyze benchmark'} and len(found) == 14


def test_thresholds_are_numbers_from_0_to_1(capsys):
    """25 for 0.25 would leave every prediction out."""
    found = set()
    for name in COMMANDS:
        if name in (
            'predict',
            'track',
            'count',
            'serve',
            'export',
        ):  # whose options are checked where Python gives them
            continue
        parser = find_command(name).parser()
        for option in {'--score-thr', '--iou-thr'} & parser._option_string_actions.keys():
            found.add((name, option))
            for value in ('25', '-0.1', 'nan'):
                with pytest.raises(SystemExit):
                    parser.parse_args([f'{option}={value}'])
                assert f'argument {option}: {value!r} is no number from 0 to 1' in capsys.readouterr().err
            assert parser._option_string_actions[option].type('0.5') == 0.5
    assert {name for name, option in found if option == '--score-thr'} == {
        'test',
        'analyze benchmark',
        'analyze compare',
        'analyze confusion-matrix',
        'analyze error-analysis',
        'analyze feature-maps',
        'compare',
    }


def test_numbers_have_a_range(capsys):
    """A wrong number is an error of its option, never a traceback of what gets it, nor a limit that nothing reaches."""
    found = set()
    for name in COMMANDS:
        parser = find_command(name).parser()
        for option, action in parser._option_string_actions.items():
            if action.help == argparse.SUPPRESS or not callable(action.type):
                continue
            with contextlib.suppress(ValueError, argparse.ArgumentTypeError):
                value = action.type('nan')
                # The others are checked where Python gives them, too, or by the command's own sentence.
                assert not isinstance(value, float) or option in CHECKED_LATER, (name, option)
            if option.endswith(('seed', 'seeds')):
                found.add(name)
                with pytest.raises(SystemExit):
                    parser.parse_args([f'{option}=-1'])
                assert f"argument {option}: '-1' is no whole number from 0 to 4294967295" in capsys.readouterr().err
    assert len(found) == 7


CHECKED_LATER = {
    '--score-thr',
    '--iou-thr',
    '--tile-overlap',
    '--tile-merge-thr',
    '--stop',
    '--tolerance',
    '--max-wait-ms',
    '--body-seconds',
    '--deadline-seconds',
    '--smooth',
    '--overlap',
}


def test_a_number_out_of_its_range_is_refused():
    assert (whole(1, 3)('3'), real(0.5)('7'), seed('4294967295')) == (3, 7.0, 2**32 - 1)
    for kind, text, message in (
        (whole(1), '0', "'0' is no whole number of at least 1"),
        (whole(0, 15), '16', "'16' is no whole number from 0 to 15"),
        (whole(0), '1.0', "'1.0' is no whole number of at least 0"),
        (real(0), 'nan', "'nan' is no number of at least 0"),
        (real(0), 'inf', "'inf' is no number of at least 0"),
        (real(0, 1), 'half', "'half' is no number from 0 to 1"),
        (overlap, '0', "'0' matches boxes that do not touch; the least overlap is above 0"),
        (level, '1', "'1' is no level between 0 and 1, such as 0.95"),
        (level, '95', "'95' is no number from 0 to 1"),
    ):
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            kind(text)
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        ('--confidence 95', "--confidence: '95' is no number"),
        ('--replicates 0', "--replicates: '0' is no whole number"),
        ('--labels a', '--labels: 1 labels (a) for 2 models; '),
        ('--labels a a', '--labels: 2 labels (a, a) for 2 models; '),
        ('--seeds 0 1 --labels a b', '--labels: 2 labels (a, b) for 4 models, 2 of each config; '),
    ],
)
def test_what_a_comparison_refuses_shows_before_the_training(words, said, capsys):
    with pytest.raises(SystemExit):
        find_command('compare').parser().parse_args(['a.py', 'b.py', *words.split()])
    assert said in capsys.readouterr().err
    find_command('compare').parser().parse_args(['a.py', 'b.py', '--seeds', '0', '--labels', 'a', 'b'])


@pytest.mark.parametrize(
    ('argv', 'name'),
    [
        (['predict', '-', 'best.pth', 'a.jpg', '--out-dir', ''], '--out-dir'),
        (['predict', '-', 'best.pth', 'a.jpg', ''], 'source'),
        (['test', 'a.py', 'best.pth', '--out='], '--out'),
        (['train', ''], 'config'),
        (['serve', 'best.pth', '--host', ''], '--host'),
        (['train', 'a.py', '--cfg-options', ''], '--cfg-options'),
        (['analyze', 'dataset-stats', 'a.py', '--csv', ''], '--csv'),
    ],
)
def test_an_empty_argument_is_refused(argv, name, capsys):
    """A variable of the shell that is not set must not leave a file unwritten without a word."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert f'error: argument {name}: is empty; is a variable of the shell not set?' in capsys.readouterr().err


def test_options_of_a_model_need_one(capsys):
    with pytest.raises(SystemExit):
        main(['analyze', 'dataset-stats', 'a.py', '--batch-size', '4'])
    assert '--batch-size has no effect without --checkpoint' in capsys.readouterr().err
