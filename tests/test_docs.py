"""What the docs say is true: their options and examples load, their links and files exist."""

import argparse
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import torch
from small_models import write_checkpoint, write_images

from detkit.cli.main import make_parser
from detkit.config import find_config, load_config
from detkit.config.options import parse_value
from detkit.registry import _REGISTRIES, DETECTORS, MODEL_PARTS, package_of
from detkit.tuning import StudySettings, parse_space, read_search_options

REPO = Path(__file__).resolve().parents[1]
PAGES = [REPO / 'README.md', *sorted((REPO / 'docs').rglob('*.md'))]
TUTORIALS = sorted((REPO / 'docs' / 'tutorials').glob('*.ipynb'))


def table_rows(text: str, title: str) -> list[str]:
    section = text.split(f'## {title}\n')[1].split('\n## ')[0]
    return [line for line in section.splitlines() if line.startswith('|') and '`' in line]


SETTINGS = [
    option
    for row in table_rows((REPO / 'docs/get_started.md').read_text(), 'Common settings')
    for code in re.findall(r'`([^`]+)`', row)
    for option in shlex.split(code)
]


@pytest.mark.parametrize('option', SETTINGS)
def test_a_common_setting_is_accepted(option):
    config = REPO / 'configs/yolov8/seg_coco128.py'
    changed = load_config(config, [option]).to_dict()
    assert changed != load_config(config).to_dict()


FOREIGN = [
    option
    for row in table_rows((REPO / 'docs/from_ultralytics.md').read_text(), 'Arguments of training')
    for code in re.findall(r'`([^`]+)`', row.split('|')[2])
    for option in shlex.split(code)
    if '=' in option and option[0] != '-'
]


@pytest.mark.parametrize('option', FOREIGN)
def test_what_stands_for_a_foreign_argument_is_accepted(option):
    configs = {'data_yaml': 'seg_custom', 'dropout': 'cls_imagenet', 'loss_angle': 'obb_dota'}
    configs |= {'loss_keypoint': 'pose_coco', 'loss_visibility': 'pose_coco'}
    config = next((config for word, config in configs.items() if word in option), 'seg_coco128')
    load_config(f'yolov8/{config}', [option], need_classes=False)


def test_parts_that_stand_for_foreign_ones_exist():
    rows = table_rows((REPO / 'docs/from_mmdetection.md').read_text(), 'Parts')
    names = {name for row in rows for name in re.findall(r'`(\w+)', row.split('|')[2])}
    assert len(names) > 25
    assert [name for name in sorted(names) if all(kind.get(name) is None for kind in _REGISTRIES)] == []


def test_the_coco_example_loads(tmp_path):
    text = (REPO / 'docs/get_started.md').read_text()
    code = re.search(r'```python\n# my_coco.py\n(.*?)```', text, re.DOTALL).group(1)
    path = tmp_path / 'my_coco.py'
    path.write_text(code)
    config = load_config(path)
    assert config.model.head.num_classes == 2
    assert config.test_dataloader.dataset.data_root == '/data/mine'


def test_the_example_of_a_search_space_loads(tmp_path):
    text = (REPO / 'docs/tune.md').read_text()
    code = re.search(r'```python\n# my_search.py\n(.*?)```', text, re.DOTALL).group(1)
    (tmp_path / 'my_search.py').write_text(code)
    config = load_config(tmp_path / 'my_search.py', need_classes=False)
    for parameter in parse_space(config.search_space):
        for value in parameter.extremes:
            load_config(tmp_path / 'my_search.py', {parameter.key: value}, need_classes=False)
    words = shlex.split(re.search(r'detkit tune (.*?) --trials', text.replace('\\\n', ''), re.DOTALL).group(1))
    for parameter in parse_space(read_search_options(words[words.index('--search') + 1 :])):
        for value in parameter.extremes:
            load_config(words[0], {parameter.key: value, 'data_yaml': 'data.yaml'}, need_classes=False)
    settings = {
        line.split('`')[1] for line in text.partition('key of `tuning`')[2].splitlines() if re.match(r'\| `\w+=', line)
    }
    assert StudySettings() == StudySettings(
        **{key: parse_value(value) for key, value in (s.split('=') for s in settings)}
    )


@pytest.mark.parametrize(('name', 'num_classes'), [('my_detr.py', 2), ('detr_on_csp.py', 91)])
def test_the_detr_examples_load(name, num_classes, tmp_path):
    text = (REPO / 'docs/detr.md').read_text()
    code = re.search(rf'```python\n# {name}\n(.*?)```', text, re.DOTALL).group(1)
    (tmp_path / name).write_text(code)
    config = load_config(tmp_path / name)
    assert config.model.head.num_classes == num_classes and config.model.head.type == 'DETRHead'
    assert DETECTORS.build(config.model).head.in_channels[-1] in (512, 2048)


@pytest.mark.parametrize(
    'option',
    [
        option
        for row in table_rows((REPO / 'docs/detr.md').read_text(), 'COCO')
        for code in re.findall(r'`([^`]+)`', row)
        for option in shlex.split(code)
        if '=' in option
    ],
)
def test_a_setting_of_detr_is_accepted(option):
    config = REPO / 'configs/detr/det_coco.py'
    assert load_config(config, [option]).to_dict() != load_config(config).to_dict()


def test_the_example_of_a_pretrained_backbone_loads_and_builds(tmp_path):
    text = (REPO / 'docs/training.md').read_text()
    code = re.search(r'```python\n# yolov5_r50.py\n(.*?)```', text, re.DOTALL).group(1)
    path = tmp_path / 'yolov5_r50.py'
    path.write_text(code)
    config = load_config(path)
    with torch.device('meta'):
        model = DETECTORS.build(config.model)
    assert [len(model.backbone.out_channels), model.backbone.frozen_stages] == [3, 1]


@pytest.mark.parametrize('config', ['yolov3/det_coco.py', 'yolov5/det_coco.py'])
@pytest.mark.parametrize('row', table_rows((REPO / 'docs/training.md').read_text(), 'Freezing and learning rates'))
def test_a_way_of_freezing_is_accepted(row, config):
    (option,) = (shlex.split(code)[0] for code in re.findall(r'`([^`]+)`', row))
    changed = load_config(REPO / 'configs' / config, [option]).to_dict()
    assert changed != load_config(REPO / 'configs' / config).to_dict()


@pytest.mark.parametrize('page', [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r'\]\(([^)#]+)', page.read_text())
    missing = [target for target in targets if '://' not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_name_files_that_exist(page):
    named = re.findall(r'(?:^|\s)((?:tools|configs)/[\w/]+\.(?:py|sh))', page.read_text())
    missing = [path for path in named if not (REPO / path).is_file()]
    for config in [path for path in missing if path.startswith('configs/')]:  # the name of a size, which needs no file
        assert load_config(REPO / config, need_classes=False).size in Path(config).stem.split('_')
        missing.remove(config)
    assert missing == []


def test_the_index_of_analysis_names_every_tool():
    named = set(re.findall(r'`tools/analyze/(\w+\.py)`', (REPO / 'docs/analyze.md').read_text()))
    assert named == {path.name for path in (REPO / 'tools/analyze').glob('*.py')}


def test_every_page_is_in_the_menu():
    menu = set(re.findall(r'- (?:[^:\n]+: )?(\S+\.(?:md|ipynb))\n', (REPO / 'mkdocs.yml').read_text()))
    assert menu == {page.relative_to(REPO / 'docs').as_posix() for page in [*PAGES[1:], *TUTORIALS]}


def test_every_component_is_in_the_reference():
    pages = ''.join(page.read_text() for page in (REPO / 'docs/reference').glob('*.md'))
    modules = [importlib.import_module(name) for name in re.findall(r'^::: (\S+)', pages, re.MULTILINE)]
    shown = {id(getattr(module, name)) for module in modules for name in getattr(module, '__all__', vars(module))}
    parts = {part for kind in _REGISTRIES for part in kind.module_dict.values() if package_of(part) == 'detkit'}
    assert len(parts) > 100
    assert sorted(f'{part.__module__}.{part.__name__}' for part in parts if id(part) not in shown) == []


def test_the_models_have_the_parameters_of_their_table():
    rows = re.findall(r'^\| `(\S+)` \| ([\d,]+) ', (REPO / 'docs/models.md').read_text(), re.MULTILINE)
    assert len(rows) > 30
    for name, count in rows:
        model = load_config(name, need_classes=False).model
        model.head.setdefault('num_classes', {'obb_': 15, 'cls_': 1000}.get(name.partition('/')[2][:4], 80))
        with torch.device('meta'):
            assert sum(p.numel() for p in DETECTORS.build(model).parameters()) == int(count.replace(',', '')), name


def test_every_benchmark_is_named():
    named = set(re.findall(r'`(\w+\.py)`', (REPO / 'docs/models.md').read_text()))
    parts = {'annotation_files.py', 'disturbed_runs.py', 'equal_runs.py', 'moving_scene.py'}  # which the others import
    assert named | parts == {path.name for path in (REPO / 'benchmarks').glob('*.py')}


def test_the_example_of_mixed_parts_loads_and_builds(tmp_path):
    text = (REPO / 'docs/parts.md').read_text()
    code = re.search(r'```python\n# resnet_yolov8.py\n(.*?)```', text, re.DOTALL).group(1)
    path = tmp_path / 'resnet_yolov8.py'
    path.write_text(code)
    config = load_config(path)
    with torch.device('meta'):
        model = DETECTORS.build(config.model)
    assert [type(part).__name__ for part in (model.backbone, *model.neck)] == ['ResNet', 'SPP', 'PAN']
    assert model.head.in_channels == (64, 128, 256)


def test_components_that_the_docs_of_parts_name_exist():
    names = re.findall(r'`([A-Z]\w+)`', (REPO / 'docs/parts.md').read_text().split('```')[0])
    assert len(names) > 10 and [name for name in names if MODEL_PARTS.get(name) is None] == []


def test_the_example_of_several_datasets_loads(tmp_path):
    text = (REPO / 'docs/several_datasets.md').read_text()
    code = re.search(r'```python\n# my_sets.py\n(.*?)```', text, re.DOTALL).group(1)
    path = tmp_path / 'my_sets.py'
    (tmp_path / 'data.yaml').write_text('names: [person, car, truck]\ntrain: images\nval: images')
    (tmp_path / 'train.json').write_text('{"categories": [{"id": 1, "name": "human"}, {"id": 4, "name": "van"}]}')
    code = code.replace('/data/street', str(tmp_path))
    path.write_text(code.replace('/data/yard', str(tmp_path)))
    config = load_config(path)
    assert config.model.head.num_classes == 2 and config.test_dataloader.dataset.class_map.truck == 'vehicle'


SEVERAL = (REPO / 'docs/several_datasets.md').read_text().replace('\\\n', '')


@pytest.mark.parametrize(('name', 'line'), re.findall(r'train.py (configs/\S+) --cfg-options (.*)', SEVERAL))
def test_an_option_for_datasets_is_accepted(name, line):
    options = [option for option in shlex.split(line) if 'data_yaml' not in option and 'data_root' not in option]
    changed, plain = (load_config(REPO / name, given, need_classes=False).to_dict() for given in (options, []))
    assert changed['train_dataloader'] != plain['train_dataloader']


CALLS = re.compile(r'(detkit|python -m detkit|python tools/[\w/]+\.py) ')


def shell_commands(page: Path) -> list[tuple[str, list[str]]]:
    """Return each call of ``detkit`` or of a tool in a page's code: what is called, and its arguments.

    Code is what stands between fences, of whatever indentation, and what is indented without them. What a shell reads
    itself is left out: redirections, pipes, what comes before the command or after it.
    """
    found, fence = [], None
    for line in page.read_text(encoding='utf-8').replace('\\\n', ' ').splitlines():
        if line.strip().startswith('```'):
            fence = line.strip().strip('`') if fence is None else None
        elif fence in ('', 'bash', 'sh', 'console') or (fence is None and line.startswith('    ')):
            for part in re.split(r' && |; ', line.strip().removeprefix('while ')):
                called = CALLS.match(f'{part} ')
                if called:
                    words = shlex.split(re.split(r' \d?[>|] ?', part)[0], comments=True)
                    found.append((called[1], words[len(called[1].split()) :]))
    return found


def test_shell_commands_are_found(tmp_path):
    lines = ['detkit prose', '```', 'detkit train a \\', '  --resume > log && detkit test a b', '```', '']
    lines += ['    python tools/train.py a  # b', '```python', 'detkit = 1', '```', '=== "Tab"', '']
    lines += ['    ```bash', '    while python -m detkit train a; do :; done', '    ```']
    (tmp_path / 'page.md').write_text('\n'.join(lines))
    assert shell_commands(tmp_path / 'page.md') == [
        ('detkit', ['train', 'a', '--resume']),
        ('detkit', ['test', 'a', 'b']),
        ('python tools/train.py', ['a']),
        ('python -m detkit', ['train', 'a']),
    ]


def parse_call(called: str, words: list[str]) -> argparse.Namespace:
    """Return the arguments as the parser that would be called reads them."""
    if not called.startswith('python tools/'):
        return make_parser().parse_args(words)
    spec = importlib.util.spec_from_file_location('tool', REPO / called.split()[1])
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.parse_args(words)


@pytest.mark.parametrize('page', [page for page in PAGES if shell_commands(page)], ids=lambda page: page.name)
def test_commands_of_the_docs_are_commands(page, capsys):
    refused = []
    for called, words in shell_commands(page):
        if words[:1] == ['--print-completion']:
            continue
        try:
            parse_call(called, words)
        except SystemExit as end:
            if end.code:
                refused.append((called, *words, capsys.readouterr().err.strip().rpartition('\n')[2]))
        refused += [word for word in words if re.fullmatch(r'(detr|yolov\d)/\w+', word) and not find_config(word)]
    assert refused == []


@pytest.mark.parametrize('page', ['docs/python.md', 'docs/get_started.md', 'README.md'])
def test_what_the_docs_do_from_python_runs(page, tiny_data, tmp_path, monkeypatch, capsys):
    """The blocks of a page that use a detector run one after the other, where there are the files that they name."""
    for name in ('images', 'labels', 'data.yaml'):
        (tmp_path / name).symlink_to(tiny_data / name)
    (tmp_path / 'work_dirs' / 'seg_n_coco8').mkdir(parents=True)
    write_checkpoint(tmp_path / 'work_dirs' / 'seg_n_coco8' / 'best.pth')
    for folder in ('photos', 'my_pictures'):
        write_images(tmp_path / folder, 2)
    (tmp_path / 'photo.jpg').write_bytes(next((tiny_data / 'images' / 'train').iterdir()).read_bytes())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r'```python\n(.*?)```', (REPO / page).read_text(), re.DOTALL)
    code = '\n'.join(
        block for block in blocks if re.search(r'\b(model|results?|Predictor)\b.*[(.]', block) and '_base_' not in block
    )
    assert 'from detkit import Detector' in code
    for large, small in (
        ('epochs=100', 'epochs=1, num_workers=0'),
        ('img_size=640', 'img_size=64'),
        ('batch_size=16', 'batch_size=2'),
    ):
        code = code.replace(large, small)
    exec(compile(code, page, 'exec'), {'__name__': '__main__'})
    assert 'Traceback' not in capsys.readouterr().err
    if page == 'docs/python.md':
        made = (
            'found.jpg',
            'drawn/photo.jpg',
            'drawn/photos/0.png',
            'predictions.json',
            'mine.py',
            'work_dirs/seg_n_custom/best.pth',
        )
        assert [name for name in made if not (tmp_path / name).is_file()] == []
