"""The config that is made of a model and some data."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from builders import CONFIGS
from small_models import write_checkpoint

from detkit import Detector
from detkit.api.opening import open_model
from detkit.api.recipes import Recipe, as_predicted, find_recipe
from detkit.config import literal_text, load_config
from detkit.datasets.class_names import COCO80
from detkit.engine import evaluate, load_checkpoint, save_checkpoint
from detkit.inference.steps import steps_of
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError, DataError, MissingPackageError


def config_of(name: str, data: object, **given):
    config = Detector(name, device='cpu').config(data, **given)
    return Path(config.filename).relative_to(CONFIGS).as_posix(), config


@pytest.mark.parametrize(
    ('name', 'data', 'file'),
    [
        ('yolov8/det_coco', 'data.yaml', 'yolov8/det_custom.py'),
        ('yolov5/det_s_coco', 'data.yaml', 'yolov5/det_custom.py'),
        ('yolov3/det_coco', 'data.yaml', 'yolov3/det_custom.py'),
        ('detr/det_coco', 'data.yaml', 'detr/det_custom.py'),
        ('yolov8/seg_coco', '', 'yolov8/seg_custom.py'),  # a folder with a data.yaml
        ('yolov8/cls_imagenet', 'custom', 'yolov8/cls_custom.py'),
        ('yolov5/cls_weather', 'custom', 'yolov5/cls_custom.py'),
    ],
)
def test_the_kind_of_data_chooses_the_config(name, data, file, tiny_data):
    found, config = config_of(name, tiny_data / data)
    assert found == file
    assert config.model.head.num_classes == (2 if data == 'custom' else 80)
    assert Path(name).parts[0] in file


@pytest.mark.parametrize(
    ('name', 'data', 'file'),
    [
        ('yolov8/seg_coco', 'coco8-seg', 'yolov8/seg_n_coco8.py'),
        ('yolov8/det_m_coco', 'coco8-seg', 'yolov8/det_n_coco8.py'),
        ('yolov8/pose_coco', 'coco8-pose', 'yolov8/pose_n_coco8.py'),
        ('yolov8/obb_dota', 'dota8', 'yolov8/obb_n_dota8.py'),
        ('yolov8/cls_imagenet', 'weather', 'yolov8/cls_n_weather.py'),
        ('yolov5/det_coco', 'coco8-seg', 'yolov5/det_n_coco8.py'),
    ],
)
def test_sample_sets(name, data, file):
    found, config = config_of(name, data)
    assert found == file and config.get('size') == ('m' if '_m_' in name else 'n' if 'v5' not in name else config.size)


@pytest.mark.parametrize(
    ('name', 'data', 'divisor'),
    [('yolov8/det_p6_coco', 'coco8-seg', 64), ('yolov8/seg_p6_coco', '', 64), ('yolo26/det_p2_coco', '', 32)],
)
def test_images_of_other_data_are_padded_as_the_model_needs_it(name, data, divisor, tiny_data):
    _, config = config_of(name, data or tiny_data)
    dataset = config.val_dataloader.dataset
    letterbox = next(step for step in dataset.pipeline if step.type == 'LetterBox')
    assert dataset.size_divisor == letterbox.size_divisor == divisor


def test_texts_follow_the_classes_of_other_data(tmp_path, tiny_data):
    names = [*reversed(COCO80[:3])]
    (tmp_path / 'data.yaml').write_text(f'path: {tiny_data}\ntrain: images/train\nval: images/val\nnames: {names}\n')
    encoder = {'text_encoder': {'type': 'NgramTextEncoder'}}
    for model in ('yolo_world/det_coco', 'yolo_world/det_custom'):
        config = Detector(model, options=encoder, device='cpu').config(tmp_path / 'data.yaml')
        assert config.model.classes == tuple(names) and config.model.head.num_classes == 3
    with pytest.raises(ConfigError, match=r"model\.classes is \('a', 'b', 'c'\), but .* has \('car'"):
        load_config(config.filename, {'data_yaml': str(tmp_path / 'data.yaml'), '+model.classes': ['a', 'b', 'c']})


def test_classes_that_were_set_are_tested(tiny_data, tmp_path, monkeypatch):
    config = load_config('yolo_world/det_s_coco8', {'widen_factor': 0.125, 'img_size': 64, 'classes': ('a', 'b')})
    meta = dict(format='detkit', format_version=1, classes=['a', 'b'], task='det', config=literal_text(config))
    network = DETECTORS.build(config.model)
    save_checkpoint({'meta': meta, 'state_dict': network.state_dict()}, tmp_path / 'world.pth')
    tested = []
    monkeypatch.setattr(
        evaluate, 'evaluate_checkpoint', lambda _, weights, *__: tested.append(load_checkpoint(weights))
    )
    model = Detector(tmp_path / 'world.pth', device='cpu')
    model.val(tiny_data / 'data.yaml')
    model.set_classes(COCO80)
    model.val(tiny_data / 'data.yaml')
    assert [content['meta']['classes'] for content in tested] == [['a', 'b'], [*COCO80]]
    assert torch.equal(tested[0]['state_dict']['texts'], network.texts)
    assert torch.equal(tested[1]['state_dict']['texts'], network.text_encoder(COCO80))


def test_published_weights_of_another_backbone_are_no_default(tiny_data):
    _, config = config_of('retinanet/det_r18_coco8', tiny_data / 'data.yaml')
    assert config.default_load_from is None
    own = Detector('retinanet/det_1x_coco', options={'model.head.loss_cls.gamma': 1.5}, device='cpu')
    config = own.config(tiny_data / 'data.yaml')
    assert config.default_load_from == 'retinanet-r50' and config.model.head.loss_cls.gamma == 1.5


@pytest.mark.parametrize(
    'head',
    [
        "type='DFINEOBBHead', decoder=dict(_delete_=True, type='DistributionDecoder', num_points=(3, 6, 3))",
        "_delete_=True, type='RFDETROBBHead', num_queries=50, num_groups=2",
    ],
    ids=['dfine', 'rfdetr'],
)
def test_heads_of_a_task_that_their_family_has_no_config_of(head, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = 'detkit::rtdetr/obb_custom'\n\nmodel = dict(head=dict({head}))\n")
    found, config = config_of(str(own), 'dota8')
    assert found == 'rtdetr/obb_r18_dota8.py'
    assert config.model.head.type in head


@pytest.mark.parametrize(
    ('base', 'file'),
    [
        ('faster_rcnn/det_1x_coco', 'faster_rcnn/det_custom.py'),
        ('mask_rcnn/seg_coco', 'mask_rcnn/seg_custom.py'),
        ('keypoint_rcnn/pose_coco', 'keypoint_rcnn/pose_custom.py'),
        ('retinanet/det_voc', 'retinanet/det_custom.py'),
        ('yolo_world/det_coco', 'yolo_world/det_custom.py'),
    ],
)
def test_a_config_of_ones_own_is_of_the_family_of_its_head(base, file, tiny_data, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = 'detkit::{base}'\n")
    opened = Detector(own, device='cpu')._opened
    recipe = find_recipe(opened, tiny_data / 'data.yaml')
    assert recipe.file == CONFIGS / file


def test_the_limit_of_the_longer_side_is_that_of_the_model_s_predictions(tiny_data):
    options = {'img_size': 320, 'max_size': 640}
    opened = Detector('faster_rcnn/det_coco', options=options, device='cpu')._opened
    recipe = as_predicted(opened, find_recipe(opened, tiny_data / 'data.yaml'), 160)
    assert (recipe.options['img_size'], recipe.options['max_size']) == (160, 320)


def test_data_that_no_config_of_the_task_has():
    with pytest.raises(ConfigError, match=r"no config of yolov8 for the task 'det'.*'coco8-pose'.*det_custom"):
        Detector('yolov8/det_coco').config('coco8-pose')
    with pytest.raises(ConfigError, match=r"no config of detr for the task 'seg'"):
        Detector('detr/seg_coco').config('coco8-seg')


def test_coco_s_own_folder(tiny_data, tmp_path):
    root = tmp_path / 'coco'
    shutil.copytree(tiny_data, root, ignore=shutil.ignore_patterns('*.yaml', 'imagenet', 'weather', 'panoptic'))
    (root / 'annotations' / 'captions_train2017.json').write_text('{}')
    for name in ('yolov8/seg_n_coco8', 'yolov5/det_n_coco8', 'detr/det_coco'):
        file, config = config_of(name, root, epochs=3)
        assert file.split('/')[1] in ('seg_coco.py', 'det_coco.py') and config.train_cfg.max_epochs == 3
        dataset = config.train_dataloader.dataset
        assert (dataset.ann_file, dataset.img_prefix) == ('annotations/instances_train2017.json', 'train2017')
        dataset = config.val_dataloader.dataset
        assert (dataset.ann_file, dataset.img_prefix) == ('annotations/instances_val2017.json', 'val2017')


def test_epochs_of_coco_s_folder_are_those_of_other_formats(tiny_data, tmp_path):
    root = tmp_path / 'coco'
    shutil.copytree(tiny_data, root, ignore=shutil.ignore_patterns('*.yaml', 'imagenet', 'weather', 'panoptic'))
    config = Detector('yolov8/det_coco', options={'max_epochs': 5}).config(root)
    assert config.train_cfg.max_epochs == 5
    _, config = config_of('faster_rcnn/det_coco', root)
    assert (config.train_cfg.max_epochs, config.param_scheduler[1].milestones) == (12, [8, 11])


@pytest.mark.parametrize(('name', 'published'), [('det_coco', (26, [16, 22])), ('det_1x_coco', (12, [8, 11]))])
def test_rates_drop_at_shares_of_the_epochs(name, published):
    config = load_config(f'faster_rcnn/{name}')
    assert (config.train_cfg.max_epochs, config.param_scheduler[1].milestones) == published
    for epochs in (1, 2, 10):
        milestones = load_config(f'faster_rcnn/{name}', {'max_epochs': epochs}).param_scheduler[1].milestones
        assert 1 <= milestones[0] <= milestones[1] <= epochs


def test_roboflow_s_folder(tiny_data, tmp_path):
    for split, ours in (('train', 'train2017'), ('valid', 'val2017'), ('test', 'val2017')):
        shutil.copytree(tiny_data / ours, tmp_path / split)
        content = json.loads((tiny_data / 'annotations' / f'instances_{ours}.json').read_text())
        (tmp_path / split / '_annotations.coco.json').write_text(json.dumps(content))
    _, config = config_of('yolov8/det_n_coco8', tmp_path)
    dataset = config.val_dataloader.dataset
    assert (dataset.ann_file, dataset.img_prefix) == ('valid/_annotations.coco.json', 'valid')
    assert config.train_cfg.max_epochs == 100 and config.model.head.num_classes == len(COCO80)
    shutil.rmtree(tmp_path / 'valid')
    assert config_of('yolov8/det_n_coco8', tmp_path)[1].val_dataloader.dataset.img_prefix == 'test'
    shutil.rmtree(tmp_path / 'test')  # without images to validate on, a share of the others is taken
    _, config = config_of('yolov8/det_n_coco8', tmp_path)
    assert config.val_dataloader.dataset.subset == ('val', 0.8)
    assert config.val_dataloader.dataset.ann_file == 'train/_annotations.coco.json'


@pytest.mark.parametrize(
    ('files', 'train', 'val'),
    [
        ('annotations/instances_test.json annotations/instances_train.json annotations/instances_val.json', 1, 2),
        ('train_val_test/test.json train_val_test/train.json train_val_test/val.json', 1, 2),
        ('all/latest_train.json all/latest_val.json', 0, 1),
        ('trainset.json evaluation.json', 0, 1),
    ],
)
def test_splits_of_coco_s_files_by_their_names(tiny_data, tmp_path, files, train, val):
    files = files.split()
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(tiny_data / 'annotations' / 'instances_val2017.json', tmp_path / file)
    options = find_recipe(open_model('yolov8/det_n_coco8'), tmp_path).options
    assert (options['train_ann'], options['val_ann']) == (files[train], files[val])


def test_class_folders_without_splits(tiny_data):
    _, config = config_of('yolov8/cls_n_weather', tiny_data / 'custom' / 'train')
    assert config.train_dataloader.dataset.data_root == str(tiny_data / 'custom')
    assert config.train_dataloader.dataset.subset == ('train', 0.8) and config.model.head.num_classes == 2


@pytest.mark.parametrize(
    ('name', 'data', 'text'),
    [
        ('yolov8/det_coco', 'nowhere', "no data 'nowhere'; give a data.yaml"),
        (
            'yolov8/det_coco',
            'annotations/instances_val2017.json',
            "the file '.*json' is no data.yaml; give a data.yaml",
        ),
        pytest.param('yolov8/det_coco', 'a' * 5000, 'a…. with its 5000 characters is too long', id='long'),
        ('yolov8/det_coco', 'coco8-sge', "Did you mean 'coco8-seg'"),
        ('yolov8/det_coco', 'custom', "holds no data for the task 'det'; expected is a data.yaml"),
        ('yolov8/cls_imagenet', 'annotations', "holds no data for the task 'cls'; expected is folders train and val"),
    ],
)
def test_data_that_are_none(name, data, text, tiny_data, monkeypatch):
    monkeypatch.chdir(tiny_data)
    with pytest.raises(DataError, match=text):
        Detector(name).config(data)


def test_the_config_that_a_checkpoint_names(tmp_path):
    content = load_checkpoint(write_checkpoint(tmp_path / 'a.pth'))
    with pytest.raises(ConfigError, match='does not say on which data; give data='):
        Detector(tmp_path / 'a.pth', device='cpu').config()
    content['meta']['config_file'] = 'configs/yolov8/seg_n_coco8.py'
    save_checkpoint(content, tmp_path / 'b.pth')
    config = Detector(tmp_path / 'b.pth', device='cpu').config(options={'classes': ['cat', 'dog', 'bird']})
    assert config.load_from == str(tmp_path / 'b.pth') and config.model.head.num_classes == 3


def test_other_data_are_resized_as_the_model_s():
    changed = {'keep_ratio': False, 'antialias': False}
    stretched, plain = (SimpleNamespace(config=load_config('detr/det_coco', options)) for options in (changed, {}))
    recipe = Recipe(CONFIGS / 'detr' / 'det_custom.py')
    assert as_predicted(stretched, recipe, 400).options == {'img_size': 400, **changed}
    assert not changed.keys() & as_predicted(plain, recipe, 400).options.keys()
    other = Recipe(CONFIGS / 'rfdetr' / 'det_custom.py')
    assert as_predicted(plain, other, 800).options.items() >= {'keep_ratio': True, 'max_size': 1333}.items()


@pytest.mark.parametrize(
    'treatment',
    [
        dict(prefilter_above=None),  # weights of ultralytics and YOLOv5
        dict(prefilter_above=None, align_corners=True, pad_value=127, rect=False, letterbox=dict(rounding='down')),
    ],
)
def test_other_data_are_tested_as_the_model_predicts(treatment, tiny_data, tmp_path, monkeypatch):
    content = load_checkpoint(write_checkpoint(tmp_path / 'a.pth', classes=COCO80))
    model_of_run = load_config(CONFIGS / 'yolov8' / 'seg_n_coco8.py', {**treatment, 'img_size': 96})
    content['meta']['config'] = literal_text(model_of_run)
    save_checkpoint(content, tmp_path / 'b.pth')
    tested = []
    monkeypatch.setattr(evaluate, 'evaluate_checkpoint', lambda file, _, options, *__: tested.append((file, options)))

    Detector(tmp_path / 'b.pth', device='cpu').val(tiny_data)
    file, options = tested.pop()
    config = load_config(file, options)
    assert Path(file).name == 'seg_custom.py'
    assert steps_of(config) == steps_of(model_of_run)
    assert config.val_dataloader.dataset.rect == treatment.get('rect', True)

    Detector(tmp_path / 'b.pth', device='cpu').val(tiny_data, img_size=64, prefilter_above=1.5)  # a call's own are kept
    _, options = tested.pop()
    assert options['img_size'] == 64 and options['prefilter_above'] == 1.5
    assert options.get('pad_value') == treatment.get('pad_value')


def test_other_data_have_the_model_s_classes(tiny_data, tmp_path):
    model = Detector(write_checkpoint(tmp_path / 'a.pth', 'det', narrow=True), device='cpu')
    with pytest.raises(ConfigError, match=r"trained on 3 classes, but tested on 80.* same classes: classes=\['cat'"):
        model.val(tiny_data, img_size=64)


def test_a_classifier_of_class_folders(tiny_data, tmp_path, monkeypatch):
    """All pictures are the same, so that half of those of two classes are right whatever is learnt."""
    monkeypatch.chdir(tmp_path)
    model = Detector('yolov8/cls_n_weather', device='cpu')
    run = model.train(tiny_data / 'custom', epochs=1, img_size=32, batch_size=2, num_workers=0, work_dir='mine')
    assert run == tmp_path / 'mine' and model.classes == ('cat', 'dog')
    assert model.val()['accuracy/top1'] == 0.5
    assert model.val(tiny_data / 'custom', img_size=32)['accuracy/top1'] == 0.5
    (result,) = model(tiny_data / 'custom' / 'val' / 'cat')
    assert set(result.names) == {'cat', 'dog'} and result.probs.sum() == pytest.approx(1, abs=1e-5)


def test_a_study_of_settings(tiny_data, tmp_path, monkeypatch):
    pytest.importorskip('optuna')
    monkeypatch.chdir(tmp_path)
    model = Detector('yolov8/cls_n_weather', device='cpu')
    given = dict(epochs=1, img_size=32, batch_size=2, num_workers=0)
    found = model.tune({'flip_prob': [0.0, 1.0]}, tiny_data / 'custom', num_trials=2, work_dir='study', **given)
    assert len(found.trials) == 2 and model.classes == ('cat', 'dog') and (tmp_path / 'study' / 'best.py').is_file()
    with pytest.raises(TypeError, match='write img_size='):
        model.tune({}, imgsz=3)


def test_a_study_needs_optuna(monkeypatch):
    for name in [name for name in sys.modules if name.startswith('detkit.tuning')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'optuna', None)
    with pytest.raises(MissingPackageError, match='pip install optuna'):
        Detector('yolov8/cls_n_weather').tune({'flip_prob': [0.0, 1.0]})


def test_only_images_that_are_used_must_fit_the_model(tmp_path, tiny_data):
    given = dict(data_yaml=str(tiny_data / 'data.yaml'), widen_factor=0.125, size='n')
    config = load_config('yolov8/det_p6_custom', given)
    meta = {'format': 'detkit', 'format_version': 1, 'classes': list(COCO80), 'task': 'det'}
    meta |= {'config': literal_text(config), 'config_file': 'configs/yolov8/det_p6_custom.py'}
    save_checkpoint({'meta': meta, 'state_dict': DETECTORS.build(config.model).state_dict()}, tmp_path / 'p6.pth')
    model = Detector(tmp_path / 'p6.pth', device='cpu')
    assert 'coco/bbox_mAP' in model.val(tiny_data / 'data.yaml', img_size=96, num_workers=0)
    opened = Detector('yolov8/det_p6_custom', device='cpu', options={**given, 'img_size': 96})
    assert len(opened.classes) == 80
    for train in (model.train, model.config):
        with pytest.raises(ConfigError, match='96 is no multiple of 64, the largest stride of YOLOv8Head; write 128'):
            train(tiny_data / 'data.yaml', img_size=96)


def test_numbers_of_numpy_are_numbers(tiny_data):
    given = dict(epochs=np.int64(3), img_size=np.int64(64), fraction=np.float32(0.5))
    config = Detector('rtdetr/det_coco', device='cpu').config(tiny_data / 'data.yaml', **given)
    assert (config.train_cfg.max_epochs, config.img_size, config.fraction) == (3, 64, 0.5)
    assert type(config.img_size) is int
