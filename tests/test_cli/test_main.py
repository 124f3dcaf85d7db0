"""The ``detkit`` command: its table, help, completion and exit statuses."""

import argparse
import ast
import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from detkit import __version__
from detkit.cli.command import Command, CommandParser
from detkit.cli.main import COMMANDS, main, make_parser

HEAVY = ('torch', 'mmengine', 'cv2', 'numpy', 'matplotlib')


def run(*argv: str) -> int:
    """The exit status, also where argparse ends the process."""
    try:
        return main(argv)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_shows_arguments_and_examples(name, capsys):
    assert run(*name.split(), '--help') == 0
    out = capsys.readouterr().out
    assert out.startswith(f'usage: detkit {name} ')
    examples = out.split('examples:\n')[1].replace('\\\n', ' ').splitlines()
    assert examples and all(line.startswith(f'  detkit {name}') for line in examples)


@pytest.mark.default_cases(8)
@pytest.mark.parametrize('name', COMMANDS)
def test_examples_of_a_command_are_arguments_that_it_takes(name):
    shown = Command(name).texts()['epilog'].split('\n', 1)[1].replace('\\\n', ' ')
    for line in shown.splitlines():
        args = make_parser().parse_args(shlex.split(line)[1:])
        assert args.command == Command(name)


def test_every_module_is_in_the_table(repo):
    folder = repo / 'detkit' / 'cli'
    modules = [path for path in folder.rglob('*.py') if 'def add_arguments' in path.read_text()]
    names = {' '.join(path.relative_to(folder).with_suffix('').parts).replace('_', '-') for path in modules}
    assert names - {'command'} == set(COMMANDS)


def test_every_tool_is_the_twin_of_a_command(repo):
    for path in (repo / 'tools').rglob('*.py'):
        name, prog = re.search(r"find_command\('(.*?)', prog='(.*?)'\)", path.read_text()).groups()
        assert prog == f'python {path.relative_to(repo)}' and name in COMMANDS
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        plain = re.sub(r'configs/([\w/]+)\.py', r'\1', docstring.replace(prog, f'detkit {name}'))
        assert plain == ast.get_docstring(ast.parse((repo / module_file(name)).read_text()))


def module_file(name: str) -> str:
    return f'detkit/cli/{name.replace(" ", "/").replace("-", "_")}.py'


def test_examples_of_a_tool_call_the_tool(repo):
    done = subprocess.run(
        [sys.executable, repo / 'tools/test.py', '--help'], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('usage: python tools/test.py ') and '\n  python tools/test.py yolov8' in done.stdout


@pytest.mark.parametrize('argv', [['--help'], ['configs'], ['analyze', '--help'], ['train', '--help'], ['--version']])
def test_help_and_names_need_nothing_heavy(argv):
    code = f'import sys; sys.argv[1:] = {argv}\nfrom detkit.cli.main import main\n'
    code += f'try:\n    main()\nfinally:\n    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stderr.strip() == '[]' and done.stdout


def test_version(capsys):
    assert run('--version') == 0 and capsys.readouterr().out == f'detkit {__version__}\n'


def test_no_command_shows_the_help(capsys):
    assert run() == 0
    assert 'convert-dataset' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('argv', 'meant'),
    [
        (['tran', 'a.py'], "Did you mean 'detkit train'?"),
        (['analyze', 'pr-curve'], "Did you mean 'detkit analyze pr-curves'?"),
        (['analyze', 'chek', 'a.py'], "Did you mean 'detkit check'?"),
        (['xyz'], "'detkit --help' lists all"),
    ],
)
def test_a_misspelt_command_is_refused_with_the_nearest(argv, meant, capsys):
    assert run(*argv) == 2
    assert meant in capsys.readouterr().err


def test_underscores_in_a_command_are_dashes(capsys):
    assert run('analyze', 'print_config', '--help') == 0
    assert capsys.readouterr().out.startswith('usage: detkit analyze print-config ')


def test_a_mistake_ends_with_2_and_one_sentence(capsys):
    assert run('train', 'no/such/config') == 2
    err = capsys.readouterr().err
    assert err.startswith('error: there is no config file no/such/config') and len(err.splitlines()) == 1


@pytest.mark.parametrize('number', ['ENOSPC', 'EFBIG', 'EIO', 'ELOOP', 'EROFS'])
def test_a_file_that_cannot_be_written_is_a_sentence(number, tmp_path, monkeypatch, capsys):
    """Also where a limit of a file's size (`ulimit -f`, a file system's own) is reached."""
    code = getattr(errno, number)

    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr('os.replace', full)
    assert run('configs', 'yolov8/seg_custom', '--copy', str(tmp_path)) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and os.strerror(code) in err and len(err.splitlines()) == 1


def test_the_error_of_a_path_names_the_option_that_it_is_of(tmp_path, capsys):
    image = tmp_path / 'image.png'
    image.write_bytes(b'no folder')
    argv = ['configs', 'yolov8/seg_custom', '--copy']
    assert run(*argv, str(image / 'below')) == 2
    assert capsys.readouterr().err.rstrip().endswith('Not a directory (see --copy)')


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish', 'tcsh', 'powershell'])
def test_completion_knows_commands_and_options(shell, capsys):
    assert run('--print-completion', shell) == 0
    out = capsys.readouterr().out
    assert 'convert-dataset' in out and ('cfg-options' in out or shell == 'tcsh')


@pytest.mark.skipif(shutil.which('bash') is None, reason='needs bash')
@pytest.mark.parametrize(
    ('words', 'offered'),
    [
        (['tra'], ['train', 'track']),
        (['analyze', 'pr'], ['pr-curves', 'print-config']),
        (['train', '--res'], ['--resume']),
        (['train', 'yolov8/seg_n'], ['yolov8/seg_n_coco8']),
    ],
)
def test_bash_completes(words, offered, capsys, tmp_path):
    run('--print-completion', 'bash')
    (tmp_path / 'detkit.sh').write_text(capsys.readouterr().out)
    script = f"""
        source detkit.sh
        complete=$(complete -p detkit | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        COMP_WORDS=(detkit {' '.join(words)}) COMP_CWORD={len(words)}
        $complete detkit {words[-1]} {['detkit', *words][-2]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(['bash', '-c', script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == offered, done.stderr


def test_an_unknown_shell_is_refused(capsys):
    assert run('--print-completion', 'fsh') == 2
    assert "Did you mean 'fish'" in capsys.readouterr().err


def test_a_parser_refuses_arguments_that_do_not_go_together(capsys):
    parser = CommandParser(prog='a')
    parser.add_argument('--least', type=int)
    parser.mistake = lambda args: 'too little' if args.least < 2 else None
    assert parser.parse_args(['--least', '2']) == argparse.Namespace(least=2)
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(['--least', '1'])
    assert 'error: too little' in capsys.readouterr().err


def test_the_home_is_put_in_arguments_that_no_shell_expands(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    parser = CommandParser(prog='a')
    parser.add_argument('--out')
    parser.add_argument('sources', nargs='+')
    args = parser.parse_args(['--out=~/found', '~/a.jpg', 'b'])
    assert args == argparse.Namespace(out=f'{tmp_path}/found', sources=[f'{tmp_path}/a.jpg', 'b'])


@pytest.mark.parametrize(
    ('words', 'hint'),
    [
        (['val'], "Did you mean 'detkit test'? 'detkit --help'"),
        (['segment', 'train'], "no command 'segment'. Did you mean 'detkit train'?"),
        (['analyze', 'zzz'], "no command 'analyze zzz'. 'detkit analyze --help' lists all"),
        (['analyze', 'pr_curve'], "Did you mean 'detkit analyze pr-curves'?"),
    ],
)
def test_words_of_other_toolboxes_for_commands(words, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'hint'),
    [
        ('predict - best.pth a.jpg --conf 0.3', '--conf 0.3; write --score-thr'),
        ('predict - best.pth a.jpg --foo 0.3', '--foo 0.3'),
        ('train yolov8/seg_n_coco8 --epochs 3', '--epochs 3; write --cfg-options max_epochs=…'),
        ('export best.pth --out-dir files', '--out-dir files; write --out'),
        ('train yolov8/seg_n_coco8 --imgsz=64', '--imgsz=64; write --cfg-options img_size=64'),
        ('train yolov8/seg_coco --classes=bolt', '--classes=bolt; write --cfg-options classes=bolt'),
        ('train yolov8/seg_n_coco8 data=a.yaml epochs=3', 'data=a.yaml epochs=3; write --cfg-options data_yaml=a.yaml'),
        ('train yolov8/seg_n_coco8 device=cpu', 'device=cpu; write --device'),
        ('zoo list --epochs 3', '--epochs 3'),
        ('predict - best.pth a.jpg --out p.json', '--out p.json; did you mean --out-dir?'),
        ('predict - best.pth a.jpg --save-tx', '--save-tx; did you mean --save-txt?'),
        ('predict - best.pth a.jpg --score_thr 0.3', '--score_thr 0.3; write --score-thr'),
    ],
)
def test_words_of_other_toolboxes_for_arguments(words, hint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f'detkit {words.split()[0]}: error: unrecognized arguments: {hint}'


def test_no_parser_takes_abbreviations():
    waiting, seen = [make_parser()], 0
    while waiting:
        parser = waiting.pop()
        seen += 1
        assert isinstance(parser, CommandParser) and not parser.allow_abbrev
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    assert seen > len(COMMANDS)


def test_an_interrupt_as_python_waits_for_threads_ends_the_process():
    code = """if True:
        import sys, threading, time, torch
        from detkit.cli.command import run_command

        def compute():
            end = time.monotonic() + 60
            while time.monotonic() < end:
                torch.randn(64, 64) @ torch.randn(64, 64)

        def main():
            threading.Thread(target=compute).start()
            print('started', flush=True)

        sys.exit(run_command(main, ends_process=True))
    """
    process = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'started\n'
    while process.poll() is None:  # the first may come before the end, which is an exit status of 130 that waits
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    assert process.returncode == -signal.SIGINT
    assert 'terminate called' not in process.communicate()[1]


def test_interrupts_of_a_process_that_goes_on_are_pythons():
    handler = signal.getsignal(signal.SIGINT)
    assert run('configs') == 0 and signal.getsignal(signal.SIGINT) is handler


def test_no_threads_are_no_number_of_threads(capsys):
    assert run('analyze', 'benchmark', 'yolov8/det_n_coco8', '--threads', '0') == 2
    assert "argument --threads: '0' is no whole number of at least 1" in capsys.readouterr().err


def test_per_cent_are_no_share(capsys):
    assert run('analyze', 'dataset-stats', 'yolov8/det_n_coco8', '--duplicate-iou', '90') == 2
    assert "argument --duplicate-iou: '90' is no number from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize('words', [('--print-completion', 'bash'), ('train', '--help'), ('configs',)])
def test_a_reader_of_the_output_that_has_gone_is_no_traceback(words):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, '-m', 'detkit', *words], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.stderr == b'' and done.returncode in (0, 1)  # argparse drops the error of a long help text
