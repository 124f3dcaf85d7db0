"""What a dataset's class tells of its config before it is built, and how often files are read for it."""

import json
from pathlib import Path

import pytest

from detkit.config import load_config
from detkit.datasets import CocoDataset, CocoPanopticDataset, ImageFolderDataset, YoloTxtDataset
from detkit.datasets.base import DetDataset
from detkit.datasets.formats import coco_json
from detkit.registry import DATASETS
from detkit.utils.errors import ConfigError, DataError

CATEGORIES = [{'id': 18, 'name': 'dog', 'isthing': 1}, {'id': 3, 'name': 'sky', 'isthing': 0}]


@pytest.fixture
def ann_file(tmp_path: Path) -> Path:
    path = tmp_path / 'a.json'
    path.write_text(json.dumps({'images': [], 'categories': CATEGORIES, 'annotations': [{'id': 1}] * 5000}))
    return path


def test_coco_tells_classes_ids_and_stuff(ann_file, monkeypatch):
    monkeypatch.setattr(coco_json, 'load_json', lambda path: pytest.fail('the whole file is parsed'))
    cfg = dict(data_root=str(ann_file.parent), ann_file='a.json')
    assert CocoDataset.peek(cfg) == {'classes': ('sky', 'dog'), 'category_ids': (3, 18)}
    assert CocoPanopticDataset.peek(cfg)['stuff_labels'] == (0,)
    chosen = {**cfg, 'metainfo': dict(classes=('dog',), sigmas=None)}
    assert CocoDataset.peek(chosen) == {'classes': ('dog',), 'category_ids': (18,)}
    assert CocoPanopticDataset.peek(chosen)['stuff_labels'] == ()
    kept = CocoPanopticDataset.peek({**cfg, 'keep_category_ids': True})
    assert kept['classes'][3] == 'sky' and len(kept['classes']) == 19 and kept['stuff_labels'] == (3,)
    assert CocoPanopticDataset.peek({**cfg, 'single_class': True})['classes'] == ('object',)


@pytest.mark.parametrize('key', ['"x": {"categories": [1]}, ', ''])
def test_the_categories_of_an_odd_file(ann_file, key):
    text = json.dumps({'images': [], 'annotations': [], 'categories': CATEGORIES * 1000})
    ann_file.write_text('{' + key + text[1:])
    assert [entry['name'] for entry in coco_json.read_categories(str(ann_file))[:1]] == ['sky']
    ann_file.write_text('')
    with pytest.raises(DataError, match='no valid JSON'):
        coco_json.read_categories(str(ann_file))


def test_a_changed_file_is_read_again(ann_file):
    assert len(coco_json.read_categories(str(ann_file))) == 2
    ann_file.write_text(json.dumps({'images': [], 'annotations': [], 'categories': CATEGORIES[:1]}))
    assert len(coco_json.read_categories(str(ann_file))) == 1


def test_keypoints_of_a_coco_file_and_a_data_yaml(tmp_path):
    person = {'id': 1, 'name': 'person', 'keypoints': ['a', 'b']}
    (tmp_path / 'p.json').write_text(json.dumps({'images': [], 'annotations': [], 'categories': [person]}))
    cfg = dict(data_root=str(tmp_path), ann_file='p.json')
    assert 'keypoint_shape' not in CocoDataset.peek(cfg)
    assert CocoDataset.peek({**cfg, 'keypoints': True})['keypoint_shape'] == (2, 3)
    (tmp_path / 'd.yaml').write_text('names: [person]\nkpt_shape: [3, 2]\nflip_idx: [1, 0, 2]\ntrain: images')
    cfg = dict(data_root=str(tmp_path), data_yaml='d.yaml')
    assert YoloTxtDataset.peek(cfg) == {'classes': ('person',)}
    told = YoloTxtDataset.peek({**cfg, 'labels': 'pose'})
    assert told['keypoint_shape'] == (3, 2) and told['flip_pairs'] == ((0, 1),)


def test_a_missing_file_is_an_error_only_where_it_would_tell_the_classes(tmp_path):
    for kind, settings in (
        (CocoDataset, dict(ann_file='no.json')),
        (YoloTxtDataset, dict(data_yaml='no.yaml')),
        (ImageFolderDataset, dict(folder='no')),
    ):
        with pytest.raises(DataError, match='there is no'):
            kind.peek(settings)
        assert kind.peek({**settings, 'metainfo': dict(classes=('a',))})['classes'] == ('a',)


@DATASETS.register_module()
class TwoClasses(DetDataset):
    """A format of a user's own, which says its classes itself."""

    @classmethod
    def peek(cls, cfg):
        return {'classes': ('left', 'right'), **super().peek(cfg)}


@pytest.mark.parametrize('metainfo, count', [('', 2), (", metainfo=dict(classes=('a', 'b', 'c'))", 3)])
def test_a_format_of_ones_own_takes_part_in_the_wiring(tmp_path, metainfo, count):
    base = Path('configs/yolov8/det_n_coco8.py').resolve()
    path = tmp_path / 'mine.py'
    dataset = f"dict(_delete_=True, type='TwoClasses', pipeline=_base_.train_pipeline{metainfo})"
    path.write_text(
        f'_base_ = {str(base)!r}\ntrain_dataloader = dict(dataset={dataset})\nval_cfg = None\nval_dataloader = None\n'
        'val_evaluator = None\ntest_cfg = None\ntest_dataloader = None\ntest_evaluator = None\n'
    )
    assert load_config(path).model.head.num_classes == count


@pytest.mark.parametrize('classes, sentence', [("'bolt'", r"write \('bolt',\)"), ('[1, 2]', 'holds 1, but must be')])
def test_classes_are_a_list_of_names(tmp_path, classes, sentence):
    base = Path('configs/yolov8/det_n_coco8.py').resolve()
    path = tmp_path / 'mine.py'
    path.write_text(f'_base_ = {str(base)!r}\nval_dataloader = dict(dataset=dict(metainfo=dict(classes={classes})))')
    with pytest.raises(ConfigError, match=rf'mine.py:2: val_dataloader.dataset.metainfo.classes .*{sentence}'):
        load_config(path)
