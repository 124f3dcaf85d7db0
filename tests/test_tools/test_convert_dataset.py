"""tools/convert_dataset.py: from a config and from a folder in a named format."""

import json
from pathlib import Path

import pytest
from builders import CONFIGS
from tiny_voc import object_xml, write_voc
from tool_helpers import modules_loaded_by_help, run_tool, write_yolo_set

from detkit.converters.dataset_source import datasets_of_folder, format_names
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> Path:
    objects = {
        'a': [object_xml('cat', (1, 1, 20, 30)), object_xml('dog', (5, 5, 30, 30), difficult=1)],
        'b': [object_xml('dog', (2.5, 2, 40, 9.25))],
        'c': [],
    }
    return write_voc(tmp_path_factory.mktemp('voc') / 'VOC', objects, {'train': ['a', 'c'], 'val': ['b']})


def test_from_a_config(tmp_path, monkeypatch, capsys):
    root = write_yolo_set(tmp_path / 'in')
    options = ('--cfg-options', f'data_root={root}')
    out = tmp_path / 'out'
    config = CONFIGS / 'yolov8/seg_n_coco8.py'
    assert run_tool(monkeypatch, 'convert_dataset', config, '--to', 'coco', '--out', out, *options) == 0
    printed = capsys.readouterr().out
    assert 'train: 3 images with 6 objects read' in printed and 'val: 2 images with 4 objects read' in printed
    assert 'coco keeps all of it' in printed and 'ann_file=annotations/instances_val.json img_prefix=val' in printed
    content = json.loads((out / 'annotations/instances_train.json').read_text())
    assert len(content['annotations']) == 6 and len(content['categories']) == 80
    assert all((out / 'train' / image['file_name']).is_file() for image in content['images'])


def test_from_a_folder_there_and_back(voc, tmp_path, monkeypatch, capsys):
    source = ('--from', 'voc', voc, '--options', 'splits={split}', '--split', 'train', 'val')
    assert run_tool(monkeypatch, 'convert_dataset', *source, '--to', 'coco', '--out', tmp_path / 'coco') == 0
    val = json.loads((tmp_path / 'coco/annotations/instances_val.json').read_text())
    assert [entry['bbox'] for entry in val['annotations']] == [[1.5, 1, 38.5, 8.25]]
    options = ('ann_file=annotations/instances_{split}.json', 'img_prefix={split}')
    source = ('--from', 'coco', tmp_path / 'coco', '--options', *options, '--split', 'train', 'val')
    assert run_tool(monkeypatch, 'convert_dataset', *source, '--to', 'voc', '--out', tmp_path / 'voc') == 0
    for name in 'abc':
        before, after = ((root / f'Annotations/{name}.xml').read_text() for root in (voc, tmp_path / 'voc'))
        for tag in ('name', 'xmin', 'ymin', 'xmax', 'ymax', 'difficult', 'width', 'height'):
            assert _values(before, tag) == _values(after, tag)
    for split in ('train', 'val'):
        lists = [(root / f'ImageSets/Main/{split}.txt').read_text() for root in (voc, tmp_path / 'voc')]
        assert lists[0] == lists[1]


def _values(xml: str, tag: str) -> list[str]:
    return [part.split('</')[0] for part in xml.split(f'<{tag}>')[1:]]


def test_what_is_lost_is_printed(voc, tmp_path, monkeypatch, capsys):
    arguments = ('--from', 'voc', voc, '--options', 'splits=train', '--split', 'train', '--to', 'yolo')
    assert run_tool(monkeypatch, 'convert_dataset', *arguments, '--out', tmp_path / 'out') == 0
    printed = capsys.readouterr().out
    assert 'not kept by yolo:\n  1 × an object that is not to be learnt (crowd, difficult): there is no flag' in printed
    assert run_tool(monkeypatch, 'convert_dataset', *arguments, '--out', tmp_path / 'out') == 2
    assert 'not empty' in capsys.readouterr().err


def test_every_format_has_a_short_name():
    known = format_names()
    assert known['voc'] == 'VOCDataset' and known['yolo'] == 'YoloTxtDataset' and known['coco'] == 'CocoDataset'
    assert known['imagefolder'] == 'ImageFolderDataset' and known['cocopanoptic'] == 'CocoPanopticDataset'
    assert set(known.values()) <= set(DATASETS.names())


@pytest.mark.parametrize(
    ('name', 'options', 'splits', 'match'),
    [
        ('vok', [], ['train'], "Did you mean 'voc'"),
        ('voc', ['splits'], ['train'], "^--options: 'splits' is no key=value"),
        ('voc', ['pipeline=5'], ['train'], '^pipeline=5 of VOCDataset must be a list of transforms'),
        ('voc', ['split=train'], ['train'], "no argument 'split'. Did you mean 'splits'"),
        ('voc', ['splits=train'], ['train', 'val'], '{split}'),
        ('voc', ['splits=train', 'splits.a=3'], ['train'], 'has a value already'),
        ('voc', ['splits'], ['train'], 'key=value'),
    ],
)
def test_wrong_sources(voc, name, options, splits, match):
    with pytest.raises(ConfigError, match=match):
        datasets_of_folder(name, str(voc), options, splits)


def test_names_and_nested_options(voc):
    for name in ('VOC', 'VOCDataset', 'v-o_c'):
        options = ['splits={split}', 'metainfo.classes=[dog]']
        assert datasets_of_folder(name, str(voc), options, ['val'])['val'].metainfo['classes'] == ('dog',)


def test_a_config_without_the_split(tmp_path, monkeypatch, capsys):
    root = write_yolo_set(tmp_path / 'in')
    arguments = (CONFIGS / 'yolov8/seg_n_coco8.py', '--split', 'extra', '--to', 'coco', '--out', tmp_path / 'out')
    assert run_tool(monkeypatch, 'convert_dataset', *arguments, '--cfg-options', f'data_root={root}') == 2
    assert 'no extra_dataloader' in capsys.readouterr().err


def test_options_belong_to_their_source(voc, tmp_path, monkeypatch, capsys):
    for arguments in (
        (CONFIGS / 'yolov8/seg_n_coco8.py', '--options', 'a=1'),
        (voc, '--from', 'voc', '--cfg-options', 'a=1'),
    ):
        with pytest.raises(SystemExit):
            run_tool(monkeypatch, 'convert_dataset', *arguments, '--to', 'coco', '--out', tmp_path / 'out')
        assert 'belong to' in capsys.readouterr().err


def test_help_is_light():
    assert modules_loaded_by_help('convert_dataset').isdisjoint({'torch', 'mmengine', 'cv2', 'numpy'})
