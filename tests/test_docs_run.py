"""Every command and snippet of the documentation runs on tiny data, or the page says why it is not run."""

import glob
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from docs_workspace import SMALL_SEARCH, DocsWorkspace, map_text, map_words, small_arguments
from documented import LANGUAGES, PAGES, REPO, Block, Command, parse_script, read_blocks, read_commands

from detkit.cli.command import run_command
from detkit.config import load_config
from detkit.registry import _REGISTRIES
from detkit.zoo import weights

# Settings of snippets, and what a test has in their place.
SMALL_SNIPPETS = (
    ('epochs=100', 'epochs=1, num_workers=0, widen_factor=0.125'),
    ('img_size=640', 'img_size=64'),
    ('batch_size=16', 'batch_size=2'),
    ("settings={'num_trials': 50}", f"{SMALL_SEARCH!r}, settings={{'num_trials': 1}}"),
    ('None)]))', 'None)], rounds=2, img_size=64))'),
    ('batch_sizes=[1, 8]', 'batch_sizes=[1], rounds=2, img_size=64, memory=False'),
)
# What the snippets of a page must have written.
MADE = {
    'python.md': 'found.jpg drawn/photo.jpg drawn/photos/0.png predictions.json mine.py',
    'index.md': 'shown.jpg',
    'convert.md': 'yolov8n-seg.pth yolov5s.pth',
}
# Packages that words of commands, strings of snippets and whole pages need.
NEEDED_PACKAGES = {
    'tune': ('optuna',),
    'log_to=tensorboard': ('tensorboard',),
    '--save-parquet': ('pyarrow',),
    'clip.mp4': ('av', 'trackers'),
    'onnx': ('onnx', 'onnxscript', 'onnxruntime'),
}
# Commands beside training that take seconds.
SECONDS = ('check', 'compare', 'test', 'analyze compare', 'analyze benchmark', 'analyze feature-maps')
# Modules that pages show, and that other tests import from folders of their own.
OWN_MODULES = ('my_parts', 'my_cells', 'my_hooks', 'my_metrics')


def snippets(page: Path) -> list[Block]:
    return [block for block in read_blocks(page) if block.language == 'python' and not block.why_not]


def distinct_commands() -> Iterator[object]:
    """The commands of all pages, each once; of those of a kind that takes seconds, all but the first are slow.

    So are those with Darknet-53, which has no small size, and trainings of a config without options, which
    ``test_configs`` tries.
    """
    known: set[object] = set()
    for page in PAGES:
        for command in read_commands(page):
            kind = kind_of(command)
            if command.key not in known:
                large = any('darknet53' in word for word in command.words)
                marks = [pytest.mark.slow] if kind in known or large else []
                yield pytest.param(command, id=' '.join(command.key)[:70], marks=marks)
            known |= {command.key, kind} - {''}


def kind_of(command: Command) -> str:
    """Return what a command that takes seconds has in common with others; '' for a quick one."""
    if command.name == 'train':
        return re.sub(r'^(\w+)/.*', r'\1', command.key[1]) if len(command.key) > 2 else 'train'  # the family
    return command.name if command.name in SECONDS else ''


@pytest.fixture(scope='session')
def docs_workspace(tmp_path_factory, tiny_data) -> DocsWorkspace:
    return DocsWorkspace(tmp_path_factory.mktemp('docs'), tiny_data)


@pytest.fixture
def place(tmp_path, scenes_drawn_once, charts_drawn_once, monkeypatch) -> Iterator[Path]:
    """A folder to work in, which goes with the test, and with it whatever was imported from there."""
    place = tmp_path / 'work'
    monkeypatch.setattr(sys, 'path', list(sys.path))
    for kind in _REGISTRIES:
        kind.import_from_location()
        own = [name for name, part in kind._module_dict.items() if part.__module__.split('.')[0] in OWN_MODULES]
        for name in own:
            monkeypatch.delitem(kind._module_dict, name)
    parts = [dict(kind._module_dict) for kind in _REGISTRIES]
    for name in [name for name in sys.modules if name.split('.')[0] in OWN_MODULES]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv('DETKIT_SAMPLE_URL', '')
    monkeypatch.setenv('DETKIT_CACHE', str(place / 'cache'))
    monkeypatch.setenv('DETKIT_ZOO_FILE', str(place / 'zoo.yaml'))
    monkeypatch.setattr(weights, '_shown', set())
    place.mkdir()
    monkeypatch.chdir(place)
    yield place
    for kind, before in zip(_REGISTRIES, parts, strict=True):
        kind._module_dict.clear()
        kind._module_dict.update(before)
    for name in [name for name in sys.modules if name.split('.')[0] in OWN_MODULES]:
        del sys.modules[name]
    monkeypatch.undo()
    shutil.rmtree(tmp_path)


@pytest.mark.default_cases(9)
@pytest.mark.parametrize('command', list(distinct_commands()))
def test_a_command_runs(command, docs_workspace, place, monkeypatch, capsys):
    skip_without_packages(command.words)
    docs_workspace.fill(place, command.words)
    write_files(REPO / command.place.partition(':')[0], place)
    for name, value in command.environment.items():
        monkeypatch.setenv(name, value)
    if command.words[0] == '-c':
        exec(compile(command.words[1].replace('64, 100', '2, 2'), command.place, 'exec'), {'__name__': '__main__'})
        return
    words = []
    for word in map_words(command.words, place):
        words += sorted(glob.glob(word)) or [word] if '*' in word else [word]
    status = run_command(lambda: run_small(command, words))
    out, err = capsys.readouterr()
    # `detkit check` ends with 1 where it found what it looks for.
    assert status in ((0, 1) if command.name == 'check' else (0,)), f'{command.place}: {out[-2000:]}{err[-2000:]}'


def skip_without_packages(words: Iterable[str]) -> None:
    """Skip the test where a package is missing that one of the words needs."""
    for word in words:
        for package in NEEDED_PACKAGES.get(word, ()):
            pytest.importorskip(package)


def run_small(command: Command, words: list[str]) -> int | None:
    try:
        args = small_arguments(command.name, words)
    except SystemExit as end:  # of --help and --print-completion
        return end.code
    return args.command.module.run(args)


def write_files(page: Path, folder: Path) -> list[Path]:
    """Write the files of Python that a page shows; return their paths."""
    paths = []
    for block in read_blocks(page):
        if block.language == 'python' and block.file_name:
            paths.append(folder / block.file_name)
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            paths[-1].write_text(map_text(block.code, folder), encoding='utf-8')
    return paths


def pages_with_python() -> Iterator[object]:
    """The pages that show Python; that on exports is slow, as it compiles for each runtime."""
    for page in PAGES:
        if snippets(page):
            yield pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem == 'export' else [])


@pytest.mark.default_cases(4)
@pytest.mark.parametrize('page', list(pages_with_python()))
def test_the_python_of_a_page_runs(page, docs_workspace, place, capsys):
    """Its configs load; its snippets run one after the other."""
    code = ''.join(block.code for block in snippets(page) if not block.file_name)
    words = re.findall(r"'([^'\n]+)'", code)
    skip_without_packages([*words, page.stem])
    docs_workspace.fill(place, words)
    for path in write_files(page, place):
        if '_base_' in path.read_text():
            load_config(path, need_classes=False)
    for shown, small in SMALL_SNIPPETS:
        code = code.replace(shown, small)
    exec(compile(map_text(code, place), page.name, 'exec'), {'__name__': '__main__'})
    assert 'Traceback' not in capsys.readouterr().err
    assert [name for name in MADE.get(page.name, '').split() if not (place / name).is_file()] == []


def test_every_block_of_code_says_what_it_is():
    blocks = [block for page in PAGES for block in read_blocks(page)]
    assert len(blocks) > 150
    assert [(block.place, block.language) for block in blocks if block.language not in LANGUAGES] == []


def test_every_block_is_run_or_says_why_not():
    for block in [block for page in PAGES for block in read_blocks(page)]:
        if block.language == 'bash' and not block.why_not:
            parse_script(block.code, block.place)


def test_a_reason_stands_where_a_block_is_not_run(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('<!-- not run: needs two machines -->\n```bash\ndetkit train a\n```\n\n```bash\ntorchrun a\n```\n')
    marked, unmarked = read_blocks(page)
    assert (marked.why_not, unmarked.why_not) == ('needs two machines', '')
    with pytest.raises(ValueError, match="page.md:7 shows 'torchrun a'.*not run: REASON"):
        parse_script(unmarked.code, unmarked.place)


def test_commands_are_read_as_a_shell_reads_them():
    script = 'options="a=1 b=2"\nX=3 detkit train c \\\n    --cfg-options $options > log && python -c "d(1)"  # e\n'
    script += 'while python tools/analyze/check.py f; [ $? -eq 75 ]; do :; done\n'
    commands = parse_script(script, 'a page')
    assert [command.words for command in commands] == [
        ('train', 'c', '--cfg-options', 'a=1', 'b=2'),
        ('-c', 'd(1)'),
        ('check', 'f'),
    ]
    assert [command.environment for command in commands] == [{'X': '3'}, {}, {}]
