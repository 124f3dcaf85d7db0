"""``load_config``: options, wiring of classes, and the top-level checks."""

import sys

import pytest
from builders import CONFIGS

from detkit.config import load_config, load_config_with_origins
from detkit.config.options import parse_value
from detkit.config.resolve import resolved_text
from detkit.config.show import config_lines
from detkit.utils.errors import ConfigError
from detkit.utils.home import with_home


@pytest.mark.parametrize(
    'text, value',
    [
        ('1', 1),
        ('1e-3', 0.001),
        ('true', True),
        ('False', False),
        ('none', None),
        ('None', None),
        ('abc', 'abc'),
        ("'1'", '1'),
        ('data/coco8', 'data/coco8'),
        ('[1,2]', [1, 2]),
        ('(1,2)', (1, 2)),
        ('1,2', [1, 2]),
        ('[cat,dog]', ['cat', 'dog']),
        ('cat,dog', ['cat', 'dog']),
        ('[(a,1),b]', [('a', 1), 'b']),
        ('[]', []),
        ('', ''),
        ("{'type': 'A'}", {'type': 'A'}),
        ('[true,none]', [True, None]),
        ("'a,b'", 'a,b'),
        ('007', '007'),
        ('cat,', ['cat']),
        (r'(.+)_(\d+)', r'(.+)_(\d+)'),  # no brackets around a list, but groups of an expression
        (r'(\d+)', r'(\d+)'),
        ('(cat)', ('cat',)),
        ('a),(b', 'a),(b'),
    ],
)
def test_option_values(text, value):
    parsed = parse_value(text)
    assert parsed == value and type(parsed) is type(value)


def test_options_replace_variables_and_keys(toy):
    config = load_config(toy, ['data_root=elsewhere', 'model.backbone.depth=101', '+model.backbone.width=0.5'])
    assert config.train_dataloader.dataset.data_root == 'elsewhere/train'
    assert config.model.backbone == {'type': 'ToyBackbone', 'depth': 101, 'width': 0.5}


def test_the_home_is_put_in_paths(toy, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path / 'me'))
    toy.write_text(f"{toy.read_text()}\nwork_dir = '~/runs'\n")
    config = load_config(toy, ['data_root=~/data'])
    assert config.train_dataloader.dataset.data_root == f'{tmp_path}/me/data/train'
    assert config.work_dir == f'{tmp_path}/me/runs'
    assert with_home({'a': ['~/b', ('~c', 'd~/', 1)]}) == {'a': [f'{tmp_path}/me/b', ('~c', 'd~/', 1)]}


def test_a_plus_makes_the_dicts_on_its_way(toy):
    config = load_config(toy, ['+env_cfg.backend=gloo', '+model.head.loss_cls.ranks.0=a'])
    assert config.env_cfg.to_dict() == {'backend': 'gloo'}
    assert config.model.head.loss_cls.ranks.to_dict() == {'0': 'a'}


def test_options_may_be_a_dict(toy):
    assert load_config(toy, {'batch_size': 2}).train_dataloader.batch_size == 2


def test_options_reach_into_lists(toy):
    path = toy.with_name('listed.py')
    path.write_text("_base_ = 'toy.py'\ntest_evaluator = [dict(type='ToyMetric'), dict(type='ToyMetric', kind='segm')]")
    assert load_config(path, ['test_evaluator.1.kind=other']).test_evaluator[1].kind == 'other'


def test_a_pipeline_variable_is_replaced_as_a_whole(toy):
    config = load_config(toy, {'train_pipeline': [{'type': 'ToyFlip', 'prob': 0.1}]})
    assert config.train_dataloader.dataset.pipeline[0].prob == 0.1


def test_options_reach_into_a_variable(toy):
    config = load_config(toy, ['train_pipeline.0.prob=0.75', '+train_pipeline.0.type=ToyFlip'])
    assert config.train_dataloader.dataset.pipeline == [{'type': 'ToyFlip', 'prob': 0.75}]


def test_options_reach_into_a_loader_s_pipeline_by_index(tmp_path):
    key = 'train_dataloader.dataset.pipeline.1.prob'
    config = load_config(CONFIGS / 'yolov8' / 'det_custom.py', [f'{key}=0.25'], need_classes=False)
    assert config.train_dataloader.dataset.pipeline[1]['prob'] == 0.25
    assert 'train_pipeline' not in config  # which no loader reads now
    (tmp_path / 'config.py').write_text(resolved_text(config))
    again = load_config(tmp_path / 'config.py', need_classes=False)
    assert again.train_dataloader.dataset.pipeline[1]['prob'] == 0.25


@pytest.mark.parametrize('key', [1, None, ('model', 'head'), '', '+'])
def test_keys_that_are_no_text_are_refused(toy, key):
    with pytest.raises(ConfigError, match='is no key; write for example'):
        load_config(toy, {key: 2})


def test_an_empty_list_has_no_index():
    with pytest.raises(ConfigError, match='custom_hooks is an empty list'):
        load_config(CONFIGS / 'yolov8' / 'det_custom.py', ['custom_hooks.0.momentum=1'], need_classes=False)


def test_a_size_has_one_side_or_two():
    for size in ([640], [1, 2, 3], []):
        with pytest.raises(ConfigError, match=r'a size is one side or two, \(h, w\), not'):
            load_config(CONFIGS / 'yolov8' / 'det_custom.py', {'img_size': size}, need_classes=False)


@pytest.mark.parametrize(
    'option, sentence',
    [
        (
            'model.backbone.dpth=3',
            r"no key 'model.backbone.dpth'; model.backbone has depth, type. Did you mean 'model.backbone.depth=3'",
        ),
        ('modl.backbone.depth=3', r"no key 'modl'.*Did you mean 'model.backbone.depth=3'"),
        ('data_rot=x', "Did you mean 'data_root=x'"),
        ('model.backbone.depth.x=3', 'model.backbone.depth is 50, which has no keys'),
        ('train_dataloader.dataset.pipeline.3.prob=1', 'pipeline is a list, accepted are 0 to 0'),
        ('lr', "'lr' is no key=value"),
        ('=3', "'=3' is no key=value"),
        ('log_processor.window=1', 'log_processor has no effect here: .* train_cfg.log_interval'),
        ('+lr=0.5', "options: nothing reads the top-level name 'lr'"),
        ('+model.backbone.dpth=3', "options: model.backbone.dpth: ToyBackbone has no argument 'dpth'"),
    ],
)
def test_wrong_options(toy, option, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(toy, [option])


def test_the_class_count_follows_the_data(toy):
    config, origins = load_config_with_origins(toy)
    assert config.model.head.num_classes == 2
    assert origins.find(('model', 'head', 'num_classes')).file.name == 'base.py'


def test_the_class_count_follows_a_data_yaml(toy):
    base = toy.parent / 'base.py'
    base.write_text(base.read_text().replace("metainfo=dict(classes=('cat', 'dog')),", "data_yaml='data.yaml',"))
    with pytest.raises(ConfigError, match=r"base.py:\d+: there is no data_yaml 'data.yaml' in '.*/train'"):
        load_config(toy, {'data_root': str(toy.parent)})
    with pytest.raises(ConfigError, match='train_dataloader.dataset does not say its classes'):
        load_config(toy, {'train_dataloader.dataset.data_yaml': None})
    assert 'num_classes' not in load_config(toy, need_classes=False).model.head
    (toy.parent / 'train').mkdir()
    (toy.parent / 'train' / 'data.yaml').write_text('names: [a, b, c]\ntrain: images')
    assert load_config(toy, {'data_root': str(toy.parent)}).model.head.num_classes == 3


def test_the_class_count_follows_a_coco_json(toy):
    base = toy.parent / 'base.py'
    base.write_text(base.read_text().replace("metainfo=dict(classes=('cat', 'dog')),", "ann_file='a.json',"))
    (toy.parent / 'train').mkdir()
    (toy.parent / 'train' / 'a.json').write_text(
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 7, "name": "b"}]}'
    )
    assert load_config(toy, {'data_root': str(toy.parent)}).model.head.num_classes == 2
    assert (
        load_config(
            toy, {'data_root': str(toy.parent), '+train_dataloader.dataset.single_class': True}
        ).model.head.num_classes
        == 1
    )


def test_a_head_may_count_no_classes(toy):
    text = toy.read_text()
    toy.write_text(text.replace("type='ToyHead',", "type='ToyOpenHead',"))
    assert 'num_classes' in load_config(toy).model.head  # it accepts any name
    toy.write_text(text.replace("type='ToyHead',", "type='ToyProposals',"))
    assert 'num_classes' not in load_config(toy).model.head


def test_class_counts_that_differ(toy):
    with pytest.raises(ConfigError, match=r'model.head.num_classes is 3, but train_dataloader .*base.py.* 2 classes'):
        load_config(toy, ['+model.head.num_classes=3'])
    toy.write_text(
        toy.read_text() + "val_dataloader = dict(dataset=dict(type='ToyDataset', data_root='x', "
        "metainfo=dict(classes=('cat',))))"
    )
    with pytest.raises(ConfigError, match="val_dataloader has 1 classes, but train_dataloader has 2: it lacks 'dog'"):
        load_config(toy)


def test_classes_of_other_names_or_order(toy):
    text = toy.read_text()
    for classes, reason in (
        ("('cat', 'cow')", r"has other classes than train_dataloader: it adds 'cow' and lacks 'dog'; .*'dog', 'cow'\]"),
        ("('dog', 'cat')", "the classes of train_dataloader in another order: class 0 is 'dog' here and 'cat' there"),
    ):
        val = f"val_dataloader = dict(dataset=dict(type='ToyDataset', data_root='x', metainfo=dict(classes={classes})))"
        toy.write_text(text + val)
        with pytest.raises(ConfigError, match=reason):
            load_config(toy)


@pytest.mark.parametrize(
    'line, sentence',
    [
        (
            'train_dataloder = dict(batch_size=2)',
            r"toy.py:\d+: nothing reads .* 'train_dataloder'. Did you mean 'train_dataloader'",
        ),
        ('train_pipline = []', "Did you mean 'train_pipeline'"),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict(type='ToyFlip', prob=1.0)]))",
            r'base.py:\d+: train_pipeline is defined, but train_dataloader uses another pipeline .*toy.py',
        ),
        (
            'train_dataloader = dict(batchsize=2)',
            r"a data loader has no argument 'batchsize'.*Did you mean 'batch_size'",
        ),
        ("custom_imports = dict(imports=['no_such_package_here'])", "cannot import 'no_such_package_here'"),
        ("custom_imports = dict(import_='x')", "custom_imports has no key 'import_'"),
    ],
)
def test_wrong_top_level(toy, line, sentence):
    toy.write_text(f'{toy.read_text()}\n{line}\n')
    with pytest.raises(ConfigError, match=sentence):
        load_config(toy)


def test_a_variable_in_use_may_resemble_a_key(toy):
    toy.write_text(toy.read_text() + "evaluator = dict(type='ToyMetric')\ntest_evaluator = evaluator\n")
    assert load_config(toy).evaluator.type == 'ToyMetric'


def test_a_missing_file(tmp_path):
    (tmp_path / 'seg_n.py').write_text('')
    with pytest.raises(ConfigError, match="there is no config file .*seg_m.py.*Did you mean 'seg_n.py'"):
        load_config(tmp_path / 'seg_m.py')


def test_custom_imports_lie_beside_the_config(toy, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    (toy.parent / 'toy_extras_for_load.py').write_text(
        'from torch import nn\nfrom detkit.registry import BACKBONES\n\n\n'
        '@BACKBONES.register_module(force=True)\nclass ToyExtra(nn.Module):\n'
        '    def __init__(self, depth):\n        pass\n\n    def forward(self, x):\n        pass\n'
    )
    toy.write_text(
        toy.read_text().replace('ToyBackbone', 'ToyExtra') + "custom_imports = dict(imports=['toy_extras_for_load'])\n"
    )
    config = load_config(toy)
    assert config.custom_imports.folder == str(toy.parent.resolve())


def test_custom_imports_of_a_base_and_of_its_child_lie_beside_each(toy, monkeypatch):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    team = toy.parent / 'team'
    team.mkdir()
    for folder, name in ((toy.parent, 'toy_own_of_child'), (team, 'toy_own_of_base')):
        (folder / f'{name}.py').write_text('')
    (team / 'base.py').write_text("_base_ = '../toy.py'\ncustom_imports = dict(imports=['toy_own_of_base'])\n")
    child = toy.parent / 'child.py'
    folders = [str(path.resolve()) for path in (toy.parent, team)]
    for imports in ("['toy_own_of_child']", "[*_base_.custom_imports['imports'], 'toy_own_of_child']"):
        child.write_text(f"_base_ = 'team/base.py'\ncustom_imports = dict(imports={imports})\n")
        assert load_config(child).custom_imports.folder == folders
    run = toy.parent / 'run.py'  # as a run notes it, and as a child of a run's config adds to it
    run.write_text(f"_base_ = 'toy.py'\ncustom_imports = dict(imports=['toy_own_of_base'], folder={folders})\n")
    assert load_config(run).custom_imports.folder == folders
    run.write_text(f"_base_ = 'toy.py'\ncustom_imports = dict(imports=['toy_own_of_base'], folder={folders[1]!r})\n")
    child.write_text("_base_ = 'run.py'\ncustom_imports = dict(_delete_=True, imports=['toy_own_of_child'])\n")
    assert load_config(child).custom_imports.folder == folders[0]
    (toy.parent / 'toy_own_of_base.py').write_text('')  # one name, two modules
    child.write_text("_base_ = 'team/base.py'\ncustom_imports = dict(imports=['toy_own_of_base'])\n")
    with pytest.raises(
        ConfigError, match=r"child.py:2: custom_imports names 'toy_own_of_base', meaning .* rename yours"
    ):
        load_config(child)


def test_the_shown_config_names_every_place(toy):
    lines = list(config_lines(*load_config_with_origins(toy, ['data_root=elsewhere', 'model.backbone.depth=18'])))
    shown = {line.split(' = ')[0]: line.split('# ')[1].rsplit('/', 1)[-1] for line in lines}
    assert shown['model.backbone.depth'] == 'options'
    assert shown['data_root'] == 'options'
    assert shown['train_dataloader.dataset.data_root'] == 'base.py:9 (data_root changed by an option)'
    assert shown['train_dataloader.dataset.type'] == 'base.py:8'
    assert shown['val_evaluator.type'] == 'toy.py:13'


@pytest.mark.parametrize('name', ['yolov8n', 'YOLOv8n', 'yolov8n.yaml', 'yolov8n.pt'])
def test_a_name_of_weights_is_answered_with_their_config(name):
    with pytest.raises(ConfigError, match="'yolov8n' names the published weights; 'yolov8/det_n_coco' is that model"):
        load_config(name)
