"""A user's own part with one mistake is refused before training, in a sentence that names it."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from own_steps import OPTIMISER, WRONG_STEPS

from detkit import Detector, registry
from detkit.cli.main import main
from detkit.config import load_config
from detkit.config.own_parts import mistake_in
from detkit.engine import runner as engine_runner
from detkit.engine import train_from_config
from detkit.utils.errors import ConfigError

SETTINGS = {
    'backbone': "model = dict(backbone=dict(_delete_=True, type='PlainBackbone'))",
    'loss': "model = dict(head=dict(loss_cls=dict(_delete_=True, type='SoftFocalLoss')))",
    'hook': "custom_hooks = [dict(type='CountObjects')]",
    'head': "model = dict(head=dict(_delete_=True, type='CentreHead', box_size=24))",
    'metric': "val_evaluator = [dict(type='CocoMetric'), dict(type='CountMetric')]",
    'stain': "train_pipeline = [dict(type='LoadImageFromFile'), dict(type='LetterBox', size=_base_.img_size), "
    "dict(type='Render'), dict(type='RandomStain'), dict(type='PackInputs')]",
    'dataset': """data_root = 'cells'
train_dataloader = dict(
    dataset=dict(
        _delete_=True, type='CsvDataset', data_root=data_root, ann_file='train.csv', pipeline=_base_.train_pipeline
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='CsvDataset',
        data_root=data_root,
        ann_file='train.csv',
        pipeline=_base_.val_pipeline,
        test_mode=True,
    )
)
test_dataloader = val_dataloader""",
}
FILES = {
    'backbone': 'my_parts/backbone.py',
    'loss': 'my_parts/loss.py',
    'hook': 'my_parts/hook.py',
    'head': 'my_cells/centre_head.py',
    'metric': 'my_metrics.py',
    'stain': 'my_cells/stain.py',
    'dataset': 'my_cells/csv_dataset.py',
}
SETTINGS['choice'] = SETTINGS['stain'].replace(
    "dict(type='RandomStain')", "dict(type='RandomChoice', transforms=[[dict(type='RandomStain')]])"
)
FILES['choice'] = FILES['stain']
# What a mistake gives as soon as the config is loaded: part, text, text in its place, sentence.
LOADED = [
    ('backbone', 'def forward', 'def fwd', 'PlainBackbone has no method forward, which every Backbone has'),
    ('backbone', '(BaseModule)', '', 'PlainBackbone is no torch.nn.Module; write class PlainBackbone'),
    ('backbone', 'self, x: Tensor', 'self, x: Tensor, y', r'has forward\(self, x, y\), but is called as forward'),
    ('loss', 'nn.Module, BinaryClassLoss', 'BinaryClassLoss', 'SoftFocalLoss has no method __call__, which Loss'),
    ('loss', 'nn.Module, BinaryClassLoss', 'nn.Module', 'SoftFocalLoss states no protocol'),
    ('head', 'def results', 'def reslts', 'CentreHead has no method results'),
    ('head', 'def decode', 'def decod', 'CentreHead has no method decode'),
    ('head', 'BaseHead)', 'nn.Module)', 'CentreHead has no method predict, which every Head has'),
    ('head', "'mean'", "'avg'", "has loss_reduction = 'avg', but it is 'sum'"),
    ('stain', "'pixels'", "'pixel'", "has stage = 'pixel', but the stages are .* Did you mean 'pixels'"),
    ('stain', 'def __call__', 'def call', 'RandomStain has no method __call__'),
    ('stain', 'sample: Sample)', 'sample: Sample, results)', r'has __call__\(self, sample, results\), but is called'),
    ('hook', 'batch_idx, data_batch=None, outputs=None', '*rest', 'after_train_iter.*, but is called as'),
    ('hook', 'def after_train(self, runner)', 'def after_train(self)', r'has after_train\(self\), but is called as'),
    ('hook', 'after_train_iter', 'after_trian_iter', "after_trian_iter, which is no point.*'after_train_iter'"),
    ('hook', '(Hook)', '', r'CountObjects is no Hook; write class CountObjects\(Hook\)'),
    ('hook', "'CountObjects'", "'CountObjects', priority='SUPER'", "priority: .*one of HIGHEST.*found 'SUPER'"),
    ('hook', 'def after_train(', 'def before_save_checkpoint(', 'before_save_checkpoint, which no run calls'),
    ('hook', 'CountObjects', 'EMAHook', r"own_1.py:\d+ registers the hook 'EMAHook', but .*ema_hook.py:\d+ is.*force"),
    ('metric', "headline = ('error',)", '', r"CountMetric names no result in headline.*write headline = \('error',\)"),
    ('metric', "headline = ('error',)", "headline = 'error'", r"headline = 'error', but it is a tuple.*\('error',\)"),
    ('metric', "default_prefix = 'count'", '', 'CountMetric has no default_prefix'),
    ('metric', "'count'", "'coco'", "has the prefix 'coco', which is that of CocoMetric"),
    ('metric', "('bbox',)", "('boxes',)", r"has needs = \('boxes',\); there are bbox"),
    ('metric', "('bbox',)", "('segm',)", 'CountMetric measures masks, but YOLOv8Head predicts boxes'),
    ('metric', 'def compute_metrics', 'def compute', 'CountMetric has no method compute_metrics'),
    ('dataset', 'return {', 'None and {', 'CsvDataset.peek returns a NoneType, but must return a dict'),
    ('dataset', "cfg['ann_file']", "cfg['file']", r"CsvDataset.peek fails: KeyError: 'file' \(own_1.py:\d+\)"),
    ('backbone', 'class Plain', 'clas Plain', r'custom_imports cannot import .*own_1.py:\d+: SyntaxError'),
    ('backbone', 'import BACKBONES', 'import BACKBONES; 1 / 0', r'own_1.py:\d+: ZeroDivisionError: division by zero'),
    ('backbone', 'import BACKBONES', 'import BACKBONES; raise SystemExit(0)', r'own_1.py:\d+: it ends the program'),
    ('backbone', "['own_1']", "['./own_1.py']", "takes module names, .*: write 'own_1'"),
    ('backbone', "['own_1']", "['.own_1']", "takes module names, .*: write 'own_1'"),
    ('backbone', "['own_1']", "['string']", r"names 'string', meaning .*, but Python has another .*string.py; rename"),
]
# What a mistake gives when the run is rehearsed.
REHEARSED = [
    ('backbone', 'outs = []', 'outs = nothing', r"PlainBackbone fails on two samples.*'nothing'.* \(own_1.py:\d+\)"),
    ('backbone', 'tuple(channels[-3:])', 'channels[-1]', 'out_channels is 64, but must be a tuple'),
    ('backbone', '(8, 16, 32)', '(4, 8, 16)', r'says out_strides = \(4, 8, 16\), but returns maps of'),
    ('backbone', 'return tuple(outs[-3:])', 'return outs[-1]', 'returns a Tensor; it must return a tuple'),
    (
        'loss',
        'nn.Module, BinaryClassLoss):',
        'nn.Module, BinaryClassLoss):\n    def get_extra_state(self):\n        return 1\n',
        r'SoftFocalLoss \(head.loss_cls\) has get_extra_state\(\), but a checkpoint holds',
    ),
    ('loss', 'logits = pred', 'logits = pred.detach()', 'SoftFocalLoss, .* returns a tensor without a gradient'),
    ('head', "{'loss_cls':", "{'cls':", "'CentreHead': loss returns a dict of cls, but must return a dict"),
    ('head', 'return results', 'return None', 'predict returns a NoneType for 2 images'),
    (
        'head',
        'labels=labels.cpu()',
        'labels=labels.cpu() + 100',
        r'predict returns the label 1\d\d, but labels are 0 to 79',
    ),
    ('head', 'bboxes=bboxes.cpu(), ', '', 'predict returns no pred_instances.bboxes'),
    (
        'backbone',
        'outs = []',
        "outs = []; self.register_buffer('seen', x.new_zeros(3))",
        r'PlainBackbone: backbone.seen has the shape \(3,\) after a step, but was not there before.*in __init__',
    ),
    ('backbone', 'append(x)', 'append(x.detach())', 'PlainBackbone: no gradient reaches its weights.*detach'),
    ('head', '].float()', '].float().detach()', 'CentreHead: no gradient flows back from loss_cls'),
    ('metric', "('error',)\n    charts", "('err',)\n    charts", "declares 'err' .*, but its results are error"),
    ('metric', "return {'error'", "None and {'error'", 'compute_metrics returns None, but must return a dict'),
    ('metric', 'sum(errors) / len(errors)', "'bad'", "returns 'bad' as 'error', but results are numbers"),
    ('metric', 'errors = [', 'errors = 0 / 0; errors = [', 'CountMetric fails on two samples.*ZeroDivisionError'),
    (
        'stain',
        'return replace',
        'replace',
        'RandomStain returns a NoneType for .*, but a transform returns the changed Sample',
    ),
    (
        'choice',
        'return replace',
        'replace',
        'RandomStain returns a NoneType for .*, but a transform returns the changed',
    ),
    ('stain', 'img=img', 'img=img[:7]', r'img of the shape \(7, .* but the stage pixels keeps the size'),
    ('stain', 'img=img', 'img=img / 255', 'returns an img of float64 .*, but it must be uint8'),
    ('dataset', "index(row['class'])", "index(row['class']) + 7", 'gives the label 7 in .*, but labels are 0 to 1'),
    ('dataset', "'x0', 'y0', 'x1', 'y1')]", "'x1', 'y1', 'x0', 'y0')]", 'gives the box .* x0 <= x1'),
    ('dataset', 'np.float32)', 'str)', 'Annotations.bboxes must be an array of float32'),
    ('dataset', 'return records', 'return None', 'load_records returns None, but must return a list of Record'),
    (
        'dataset',
        'return {',
        'return {} if len(cfg) > 2 else {',
        'gives 2 classes .* but the head has 80, as CsvDataset.peek',
    ),
]
# Components that fail only in the second epoch, or only with all images: errors name the place in the run.
COUNTED = "self.count = getattr(self, 'count', 0) + 1; 1 / (self.count < 6); "
LATE = [
    (
        'backbone',
        'outs = []',
        COUNTED.replace('+ 1', '+ self.training') + 'outs = []',
        'PlainBackbone fails in epoch 2, it',
    ),
    ('loss', 'logits = pred', COUNTED + 'logits = pred', r'SoftFocalLoss fails in epoch 2, iteration \d: ZeroDiv'),
    ('stain', 'img = sample', '1 / (sample.epoch < 1); img = sample', r'RandomStain fails on .*\.jpg: ZeroDivisionErr'),
    (
        'metric',
        'errors = [',
        COUNTED.replace('6', '2') + 'errors = [',
        'CountMetric fails in epoch 2, at its end: ZeroDiv',
    ),
]

# Wrong results of a transform that begin after the samples that are tried before a run.
LATE_RESULTS = [
    (
        'img=img',
        'img=img if sample.epoch < 1 else img / 255',
        r'an img of float64 .* for .*\.jpg, but it',
    ),
    (
        'img=img',
        'img=img if sample.epoch < 1 else img[..., 0]',
        r'an img of uint8 \(\d+, \d+\) for .*\.jpg, but',
    ),
    (
        'img=img',
        'img=img if sample.epoch < 1 else img[::2]',
        r'an img of the shape .* for one of .*\.jpg, but',
    ),
    (
        'return replace',
        'return sample.epoch < 1 and replace',
        r'a bool for .*\.jpg, but a transform',
    ),
]


@pytest.fixture(scope='module')
def sources(repo):
    """The components of the documentation, by file."""
    texts = [(repo / 'docs' / name).read_text() for name in ('add_a_component.md', 'training.md')]
    return dict(re.findall(r'```python\n# (\S+\.py)\n(.*?)```', ''.join(texts), re.DOTALL))


@pytest.fixture
def write(sources, repo, tmp_path, monkeypatch):
    """Return a function that writes a part and its config; afterwards nothing of either is known any more."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop('own_1', None)
    for one in registry._REGISTRIES:  # what other tests have imported from the documentation
        for name, part in list(one.module_dict.items()):
            if part.__module__.startswith('my_'):
                monkeypatch.delitem(one.module_dict, name)

    def write(kind, old='', new='', base='yolov8/det_n_coco8.py'):
        config = (
            f"_base_ = {str(repo / 'configs' / base)!r}\ncustom_imports = dict(imports=['own_1'])\n{SETTINGS[kind]}\n"
        )
        source = sources[FILES[kind]]
        assert old in source + config
        Path('own_1.py').write_text(source.replace(old, new))
        Path('string.py').write_text('')
        Path('cfg.py').write_text(config.replace(old, new) if old and old in config else config)
        if kind == 'dataset':
            Path('cells').mkdir()
            rows = ['image,class,x0,y0,x1,y1', '0.png,a,4,4,30,30', '0.png,b,9,9,40,50', '1.png,a,8,8,20,20']
            Path('cells/train.csv').write_text('\n'.join(rows))
            for number in range(2):
                cv2.imwrite(f'cells/{number}.png', np.full((64, 64, 3), 90, np.uint8))
        return 'cfg.py'

    yield write
    forget()


def forget():
    for one in registry._REGISTRIES:
        for name in [name for name, part in one.module_dict.items() if part.__module__ == 'own_1']:
            del one.module_dict[name]
    sys.modules.pop('own_1', None)


def options(kind, data, **more):
    root = dict(data_root='cells') if kind == 'dataset' else dict(data_root=str(data), repeat_times=2)
    own = dict(**root, img_size=64, num_workers=0, batch_size=2, max_epochs=1, device='cpu', **more)
    return own | {'default_hooks.pictures': None}


@pytest.mark.parametrize(('kind', 'old', 'new', 'sentence'), LOADED)
def test_a_mistake_shows_when_the_config_is_loaded(write, tiny_data, kind, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        load_config(write(kind, old, new), options(kind, tiny_data))
    assert re.search(r'cfg\.py:\d+: \w', str(error.value)), 'the file and the key are named'


@pytest.mark.default_cases(3)
@pytest.mark.parametrize(('kind', 'old', 'new', 'sentence'), REHEARSED)
def test_a_mistake_shows_before_training(write, tiny_data, tmp_path, kind, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        train_from_config(write(kind, old, new), options(kind, tiny_data, work_dir='run'))
    assert re.search(r'cfg\.py:\d+: \w', str(error.value)), 'the file and the key are named'
    assert not (tmp_path / 'run').exists(), 'nothing was trained'


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize(('kind', 'old', 'new', 'sentence'), LATE)
def test_a_part_that_fails_later_is_named(write, tiny_data, kind, old, new, sentence, num_workers):
    if num_workers and kind != 'stain':
        pytest.skip('workers run transforms alone')
    settings = options(kind, tiny_data, work_dir='run') | {'max_epochs': 3, 'num_workers': num_workers}
    settings |= {'repeat_times': 4, 'train_cfg.val_interval': 1 if kind == 'metric' else 3}
    with pytest.raises(ConfigError, match=sentence) as error:
        train_from_config(write(kind, old, new), settings)
    assert re.search(r'cfg\.py:\d+: \w.*own_1\.py:\d+', str(error.value)), 'file and key, and the line that failed'
    assert '\n' not in str(error.value)


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(('old', 'new', 'sentence'), LATE_RESULTS)
def test_results_of_each_sample_are_checked(write, tiny_data, old, new, sentence):
    settings = options('stain', tiny_data, work_dir='run') | {'max_epochs': 2, 'train_cfg.val_interval': 2}
    with pytest.raises(ConfigError, match=rf'cfg\.py:\d+: \w.*RandomStain returns {sentence}') as error:
        train_from_config(write('stain', old, new), settings)
    assert '\n' not in str(error.value)


def test_a_hook_that_does_not_take_its_state_is_named(write, tiny_data):
    state = 'def state_dict(self):\n        return dict(count=self.count)\n\n    def load_state_dict(self, state):\n'
    path = write('hook', 'def after_train(', f"{state}        self.count = state['cuont']\n\n    def after_train(")
    train_from_config(path, options('hook', tiny_data, work_dir='run'))
    settings = options('hook', tiny_data, work_dir='run') | {'max_epochs': 2}
    with pytest.raises(ConfigError, match=r"0: CountObjects fails where it takes its state .*'cuont' \(own_1.py:\d+\)"):
        train_from_config(path, settings, resume=True)


def test_a_checkpoint_says_which_modules_it_needs(write, tiny_data, capsys):
    train_from_config(write('backbone'), options('backbone', tiny_data, work_dir='run'))
    forget()
    image = str(next((tiny_data / 'images').rglob('*.jpg')))
    with pytest.raises(ConfigError, match='names own_1 in custom_imports, .* or import it yourself, import own_1'):
        Detector('run', device='cpu')(image)
    arguments = ['predict', '-', 'run/last.pth', image, '--device', 'cpu', '--no-pictures']
    assert main(arguments) == 2 and 'import it yourself, --custom-imports own_1' in capsys.readouterr().err
    assert 'own_1' not in sys.modules
    assert main([*arguments, '--custom-imports', 'own_1']) == 0


@pytest.mark.parametrize(
    'command', ['predict - a.pth {}', 'test - a.pth', 'track a.pth {}', 'export a.pth', 'serve a.pth']
)
def test_commands_that_take_a_model_without_its_config_import_modules(tiny_data, capsys, command):
    image = str(next((tiny_data / 'images').rglob('*.jpg')))
    assert main([*command.format(image).split(), '--custom-imports', 'no_such_part']) == 2
    assert "--custom-imports cannot import 'no_such_part'" in capsys.readouterr().err


def with_steps(write, old='', new=''):
    path = write('hook')
    assert old in OPTIMISER
    Path('own_1.py').write_text(OPTIMISER.replace(old, new))
    optimiser = "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SignSGD', lr=1e-3))"
    schedule = "param_scheduler = dict(_delete_=True, type='Halves', warmup_epochs=0)".replace(
        ', warmup_epochs=0', '' if old == '(WarmupDecay)' else ', warmup_epochs=0'
    )
    Path(path).write_text(Path(path).read_text().replace(SETTINGS['hook'], f'{optimiser}\n{schedule}'))
    return path


def test_an_optimiser_and_a_schedule_of_ones_own(write, tiny_data, capsys):
    """The optimiser has no weight decay."""
    runner = train_from_config(with_steps(write), options('hook', tiny_data, work_dir='run'))
    assert 'optim    SignSGD, lr 0.001, weight decay 0, ' in capsys.readouterr().out
    assert runner.optim_wrapper.optimizer.param_groups[0]['lr'] == 0.001 * 0.5 ** (runner.train_loop.iter - 1)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(('old', 'new', 'sentence'), WRONG_STEPS)
def test_a_wrong_optimiser_or_schedule_shows_before_training(write, tiny_data, tmp_path, old, new, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        train_from_config(with_steps(write, old, new), options('hook', tiny_data, work_dir='run'))
    assert re.search(r'cfg\.py:\d+: \w', str(error.value)), 'the file and the key are named'
    assert not (tmp_path / 'run').exists(), 'nothing was trained'


@pytest.mark.parametrize('old', ['', '(8, 16, 32)'], ids=['right', 'wrong'])
def test_a_backbone_of_ones_own_under_a_neck_that_takes_texts(write, tiny_data, old):
    path = write('backbone', old, '(4, 8, 16)' if old else '', base='yolo_world/det_s_coco8.py')
    if not old:
        assert train_from_config(path, options('backbone', tiny_data, work_dir='run')).train_loop.epoch == 1
        return
    with pytest.raises(ConfigError, match=r'says out_strides = \(4, 8, 16\), but returns maps of'):
        train_from_config(path, options('backbone', tiny_data, work_dir='run'))


@pytest.mark.parametrize('weight', [0.0, 1.0])
def test_a_head_of_ones_own_need_not_compute_a_loss_without_weight(write, tiny_data, weight):
    """YOLOX's fifth loss has no weight, and so no gradient, before the last epochs."""
    path = write('loss', base='yolox/det_nano_coco8.py')
    Path('own_1.py').write_text(
        'from detkit.models.heads.yolox_head import YOLOXHead\n'
        'from detkit.registry import HEADS\n\n\n'
        '@HEADS.register_module()\nclass OwnHead(YOLOXHead):\n'
        '    def _raw_loss(self, raw, *rest):\n        return super()._raw_loss(raw, *rest).detach()\n'
    )
    setting = f"model = dict(head=dict(type='OwnHead', loss_l1=dict(loss_weight={weight})))"
    Path(path).write_text(Path(path).read_text().replace(SETTINGS['loss'], setting))
    settings = options('loss', tiny_data, work_dir='run') | {'default_hooks.l1': None}
    if weight:
        with pytest.raises(ConfigError, match='OwnHead: no gradient flows back from loss_l1'):
            train_from_config(path, settings)
    else:
        assert train_from_config(path, settings).train_loop.epoch == 1


def test_a_dataset_class_without_peek_is_refused():
    class Plain:
        pass

    assert 'Plain has no classmethod peek' in mistake_in(Plain, registry.DATASETS, {})


def test_a_hook_that_fails_is_named(write, tiny_data):
    kind = 'hook'
    with pytest.raises(ConfigError, match=r"CountObjects.after_train_iter fails: KeyError: 'nope' \(own_1.py:\d+\)"):
        train_from_config(
            write(kind, "data_batch['gt']", "data_batch['nope']"), options(kind, tiny_data, work_dir='run')
        )


def test_a_result_may_be_a_number_of_numpy_and_its_name_is_checked(write, tiny_data):
    kind = 'metric'
    path = write(kind)
    best = {'train_cfg.best_metric': 'count/error'}  # an argument of the loop that no file sets
    runner = train_from_config(path, {**options(kind, tiny_data, work_dir='run'), **best})
    assert type(runner.train_loop.best_metrics['count/error']) is float
    with pytest.raises(ConfigError, match="best_metric is 'count/eror', but .* Did you mean 'count/error'"):
        train_from_config(path, {**options(kind, tiny_data, work_dir='other'), 'train_cfg.best_metric': 'count/eror'})


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('kind', ['stain', 'dataset'])
def test_a_rehearsed_run_is_the_same_run(write, tiny_data, monkeypatch, kind):
    path = write(kind)
    rehearsed = train_from_config(path, options(kind, tiny_data, work_dir='a'))
    calls = []
    monkeypatch.setattr(engine_runner, 'rehearse', calls.append)
    plain = train_from_config(path, options(kind, tiny_data, work_dir='b'))
    assert calls == [plain]
    assert rehearsed.train_loop.losses.means() == plain.train_loop.losses.means()
    ours, theirs = rehearsed.model.state_dict(), plain.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_transform_may_call_itself_mixing_without_other_images(write, tiny_data):
    """As CopyPaste does, which ends with the mosaics and mixes no other image in."""
    path = write('stain', "stage = 'pixels'", "stage = 'pixels'\n    mixes = True")
    assert train_from_config(path, options('stain', tiny_data, work_dir='run')).epoch == 1


def test_a_method_in_c_that_states_no_arguments_is_taken():
    # Python does not know the arguments of getattr.
    optimiser = type('Fast', (torch.optim.SGD,), dict(step=getattr, __module__='fast'))
    assert mistake_in(optimiser, registry.OPTIMIZERS, {}) is None
