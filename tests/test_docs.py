"""What the docs say is true: their options and examples load, their links and files exist."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from documented import PAGES, REPO, parse_script, read_blocks
from test_configs import sizes_of

from detkit.cli.main import make_parser
from detkit.config import find_config, load_config
from detkit.config.options import parse_value
from detkit.registry import _REGISTRIES, BACKBONES, DETECTORS, HEADS, MODEL_PARTS, NECKS, Registry, package_of
from detkit.tuning import StudySettings, parse_space, read_search_options
from detkit.utils.without_memory import without_memory

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


PAGE_CONFIGS = {
    'deim': 'deim/det_custom',
    'dfine': 'dfine/det_custom',
    'rfdetr': 'rfdetr/det_custom',
    'training': 'rtdetr/det_custom',
}
PAGE_SETTINGS = [
    (page, row.split('|')[1].strip(), code)
    for page in PAGE_CONFIGS
    for table in re.findall(
        r'\| (?:to set|where) \| write \|\n\|[-|]+\|\n((?:\|.*\n)+)', (REPO / f'docs/{page}.md').read_text()
    )
    for row in table.splitlines()
    for code in re.findall(r'`([^`]+)`', row.split('|')[2])
]


@pytest.mark.parametrize(('page', 'subject', 'code'), PAGE_SETTINGS)
def test_a_setting_of_a_family_is_accepted(page, subject, code):
    own = {'D-FINE': 'dfine/det_custom', 'DEIMv2': 'deimv2/det_custom'}
    config = 'rfdetr/seg_custom' if 'mask' in code else own.get(subject.split(':')[0])
    load_config(config or PAGE_CONFIGS[page], shlex.split(code), need_classes=False)
    unquoted = re.sub(r"""'[^']*'|"[^"]*\"""", '', code)
    assert not re.search(r'[()*?;&<>$]', unquoted), 'a shell reads it otherwise'


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
    with without_memory():
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


def models_of_the_table():
    """The rows of the table of models; by default one size of each family's tasks."""
    rows = re.findall(r'^\| `(\S+)` \| ([\d,]+) ', (REPO / 'docs/models.md').read_text(), re.MULTILINE)
    assert len(rows) > 130
    kinds = {name.partition('_')[0]: name for name, _ in rows}
    return [[row for row in rows if row[0] in kinds.values()], pytest.param(rows, marks=pytest.mark.slow)]


@pytest.mark.parametrize('rows', models_of_the_table(), ids=['tasks', 'sizes'])
def test_the_models_have_the_parameters_of_their_table(rows):
    for name, count in rows:
        model = load_config(name, need_classes=False).model
        model.head.setdefault('num_classes', {'obb_': 15, 'cls_': 1000}.get(name.partition('/')[2][:4], 80))
        with without_memory():
            assert sum(p.numel() for p in DETECTORS.build(model).parameters()) == int(count.replace(',', '')), name


def test_get_started_lists_every_family_with_sizes_that_it_has():
    families = {}
    for row in table_rows((REPO / 'docs/get_started.md').read_text(), 'Choose a model'):
        _, _, sizes, configs, _ = row.split('|')
        names = re.search(r'configs/\{?([\w,]+)', configs).group(1)
        families |= dict.fromkeys(names.split(','), re.findall(r'`(\w+)`', sizes))
    assert set(families) == {path.name for path in (REPO / 'configs').iterdir()} - {'_base_'}
    for family, sizes in families.items():
        written = {size for path in (REPO / 'configs' / family).glob('*.py') for size in sizes_of(path)}
        assert len(sizes) > 2 and set(sizes) <= written, family


def test_every_benchmark_is_named():
    named = set(re.findall(r'`(\w+\.py)`', (REPO / 'docs/models.md').read_text()))
    # Those that the others import.
    parts = {
        'annotation_files.py',
        'arguments.py',
        'comparison.py',
        'disturbed_runs.py',
        'equal_runs.py',
        'measured.py',
        'moving_scene.py',
        'realtime_peers.py',
        'sides.py',
    }
    assert named | parts == {path.name for path in (REPO / 'benchmarks').glob('*.py')}


def test_the_example_of_mixed_parts_loads_and_builds(tmp_path):
    text = (REPO / 'docs/parts.md').read_text()
    code = re.search(r'```python\n# resnet_yolov8.py\n(.*?)```', text, re.DOTALL).group(1)
    path = tmp_path / 'resnet_yolov8.py'
    path.write_text(code)
    config = load_config(path)
    with without_memory():
        model = DETECTORS.build(config.model)
    assert [type(part).__name__ for part in (model.backbone, *model.neck)] == ['ResNet', 'SPP', 'PAN']
    assert model.head.in_channels == (64, 128, 256)


def test_components_that_the_docs_of_parts_name_exist():
    names = re.findall(r'`([A-Z]\w+)`', (REPO / 'docs/parts.md').read_text().split('```')[0])
    assert len(names) > 10 and [name for name in names if MODEL_PARTS.get(name) is None] == []


def test_the_page_of_parts_lists_each_backbone_neck_and_head():
    text = (REPO / 'docs/parts.md').read_text()
    listed = re.findall(r'`([A-Z]\w+)`', ''.join(re.findall(r'^\| (`.+?) \|', text, re.MULTILINE)))
    parts = [name for kind in (BACKBONES, NECKS, HEADS) for name in registered(kind)]
    assert len(parts) > 30 and sorted(listed) == sorted(parts)


def test_the_comparison_counts_backbones_and_necks():
    text = (REPO / 'docs/compared.md').read_text()
    (counts,) = re.findall(r'^\| backbones, necks \| (\d+, \d+) \|', text, re.MULTILINE)
    assert counts == f'{len(registered(BACKBONES))}, {len(registered(NECKS))}'


def registered(kind: Registry) -> list[str]:
    """Return the names of detkit's own components of a kind."""
    kind.import_from_location()
    return [name for name, part in kind.module_dict.items() if part.__module__.startswith('detkit.')]


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


PARSER = make_parser()
SEVERAL = (REPO / 'docs/several_datasets.md').read_text().replace('\\\n', '')


@pytest.mark.parametrize(('name', 'line'), re.findall(r'train.py (configs/\S+) --cfg-options (.*)', SEVERAL))
def test_an_option_for_datasets_is_accepted(name, line):
    options = [option for option in shlex.split(line) if 'data_yaml' not in option and 'data_root' not in option]
    changed, plain = (load_config(REPO / name, given, need_classes=False).to_dict() for given in (options, []))
    assert changed['train_dataloader'] != plain['train_dataloader']


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_of_the_docs_are_commands(page, capsys):
    """Those too that are not run elsewhere."""
    refused = []
    scripts = [block for block in read_blocks(page) if block.language == 'bash']
    for command in [command for block in scripts for command in parse_script(block.code, block.place, others=True)]:
        if command.words[0] in ('-c', '--print-completion'):
            continue
        try:
            PARSER.parse_args(command.words)
        except SystemExit as end:
            if end.code:
                refused.append((command, capsys.readouterr().err.strip().rpartition('\n')[2]))
        words = command.words
        refused += [word for word in words if re.fullmatch(r'(detr|yolov\d)/\w+', word) and not find_config(word)]
    assert refused == []
