"""One set of images divided into two sides: nothing lost, nothing on both, each class in proportion."""

import json
import re

import numpy as np
import pytest
from format_helpers import write_image, write_yolo
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_voc import object_xml, write_voc

from detkit.config import load_config
from detkit.datasets import CocoDataset, ImageFolderDataset, VOCDataset, YoloTxtDataset
from detkit.datasets.flat_annotations import FlatRecords
from detkit.datasets.splits import choose_subset
from detkit.registry import DATASETS
from detkit.structures.annotations import Annotations, Record
from detkit.utils.errors import ConfigError, DataError


def records_of(images):
    """Images by path, each with the labels of its objects."""
    return FlatRecords.of(
        [
            Record(path, path, (10, 10), Annotations(np.array(own, np.int64), np.zeros((len(own), 4), np.float32)))
            for path, own in images.items()
        ]
    )


def side(images, which='train', share=0.8, group=None):
    paths = list(images)
    return {paths[i] for i in choose_subset(records_of(images), which, share, group, 'the set')}


SETS = st.dictionaries(
    st.text('abc/_0123456789', min_size=1, max_size=8), st.lists(st.integers(0, 3), max_size=3), min_size=2, max_size=60
)
SHARES = st.sampled_from([0.1, 0.5, 0.8, 0.95])


@given(SETS, SHARES)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_the_sides_are_disjoint_and_together_everything(images, share):
    train, val = side(images, 'train', share), side(images, 'val', share)
    assert train and val and not train & val and train | val == set(images)
    # Neither the order of the files nor the folder that holds them all plays a part.
    moved = {f'/elsewhere/{path}': own for path, own in reversed(images.items())}
    if len(set(images)) == len({path.rsplit('/', 1)[-1] for path in images}):
        assert side(moved, 'train', share) == {f'/elsewhere/{path}' for path in train}


@given(st.lists(st.integers(0, 4), min_size=10, max_size=200), SHARES)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_each_class_keeps_the_share_within_one_image(labels, share):
    images = {f'{i}.jpg': [label] for i, label in enumerate(labels)}
    train = side(images, share=share)
    for label in set(labels):
        own = [path for path, (other,) in images.items() if other == label]
        if len(own) > 1:
            assert abs(len(train & set(own)) - share * len(own)) <= 1
        elif len(train) < len(images) - 1:
            assert train >= set(own)  # else the class could not be learnt


def test_images_of_several_classes_count_for_the_rarest_and_empty_ones_for_themselves():
    images = {f'{i}': [0] * (i % 3) + [1] * (i < 10) for i in range(100)}
    train = side(images)
    assert 7 <= len(train & {path for path, own in images.items() if 1 in own}) <= 9
    empty = {path for path, own in images.items() if not own}
    assert abs(len(train & empty) - 0.8 * len(empty)) <= 1 and abs(len(train) - 80) <= 3


@given(st.integers(20, 150), st.integers(1, 30), st.integers(0, 10**6))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_added_images_move_at_most_one_other_each(count, more, seed):
    rng = np.random.default_rng(seed)
    images = {f'{seed}_{i}': [int(rng.integers(1))] for i in range(count)}
    larger = {**images, **{f'new{i}': [0] for i in range(more)}}
    moved = side(images) ^ (side(larger) & images.keys())
    assert len(moved) <= more
    one = {**images, 'new': [0]}
    assert len(side(images) ^ (side(one) & images.keys())) <= 1


def test_as_a_rule_added_images_move_few():
    images = {f'{i}': [i % 7] for i in range(3000)}
    larger = {**images, **{f'new{i}': [i % 7] for i in range(600)}}
    assert len(side(images) ^ (side(larger) & images.keys())) < 60


@given(st.lists(st.integers(1, 12), min_size=2, max_size=20), SHARES)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_a_group_is_never_divided(sizes, share):
    images = {f'images/clip{k}_{i:03d}.jpg': [k % 2] for k, size in enumerate(sizes) for i in range(size)}
    found = {which: side(images, which, share, r'(clip\d+)_') for which in ('train', 'val')}
    clips = {which: {path.split('_')[0] for path in own} for which, own in found.items()}
    assert not clips['train'] & clips['val'] and len(found['train'] | found['val']) == len(images)
    assert abs(len(found['train']) - share * len(images)) <= max(sizes)
    by_folder = {path.replace('_', '/'): own for path, own in images.items()}
    assert len({path.split('/')[1] for path in side(by_folder, 'val', share, 'folder')}) >= 1
    assert not {path.split('/')[1] for path in side(by_folder, 'val', share, 'folder')} & {
        path.split('/')[1] for path in side(by_folder, 'train', share, 'folder')
    }


def test_what_cannot_be_divided_is_an_error():
    with pytest.raises(DataError, match='the set has one image'):
        side({'a': [0]})
    with pytest.raises(DataError, match=r"all images in one group of subset_group='folder'"):
        side({'x/a': [0], 'x/b': [0]}, group='folder')
    with pytest.raises(DataError, match=r"1 of 2 images of the set do not match subset_group=.* 'b.jpg'.*'|\.\+'"):
        side({'a_1.jpg': [0], 'b.jpg': [0]}, group='(.+)_')
    assert side({'a_1.jpg': [0], 'b.jpg': [0]}, group='(.+)_|.+')


def test_data_without_a_folder_are_named_by_their_file(tmp_path):
    write_yolo(tmp_path, {'a': ''})
    path = tmp_path / 'data.yaml'
    path.write_text(f'path: {tmp_path}\ntrain: images/train\nval: images/train\nnames: [bolt]\n')
    with pytest.raises(DataError, match=re.escape(f'YoloTxtDataset at {str(path)!r} has one image')):
        YoloTxtDataset(data_yaml=str(path), subset=('train', 0.5))
    objects = [dict(id=1, image_id=1, category_id=1, bbox=[1, 1, 5, 5], area=25, iscrowd=0)]
    image = next((tmp_path / 'images').rglob('*.*'))
    images = [dict(id=1, file_name=image.name, width=20, height=10)]
    path = tmp_path / 'all.json'
    path.write_text(json.dumps(dict(images=images, annotations=objects, categories=[dict(id=1, name='bolt')])))
    with pytest.raises(DataError, match=re.escape(f'CocoDataset at {str(path)!r} has one image')):
        CocoDataset(str(path), str(image.parent), subset=('train', 0.5))


@pytest.mark.parametrize(
    'change', [dict(subset=('test', 0.8)), dict(subset=('val', 1)), dict(subset=('train',)), dict(subset_group='(')]
)
def test_wrong_arguments(change, tmp_path):
    write_yolo(tmp_path, {'a': ''})
    with pytest.raises(ConfigError, match=re.escape(next(iter(change)))):
        YoloTxtDataset('images/train', data_root=str(tmp_path), metainfo=dict(classes=('a',)), **change)


def test_every_format_has_two_sides(tmp_path):
    names = [f'{i:02d}' for i in range(20)]
    label = '0 0.5 0.5 0.5 0.5'
    write_yolo(tmp_path, {name: label for name in names})
    entries = [dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 5, 5], iscrowd=0) for i in range(20)]
    images = [dict(id=i, file_name=f'{name}.png', width=20, height=10) for i, name in enumerate(names)]
    content = dict(images=images, annotations=entries, categories=[dict(id=1, name='a')])
    (tmp_path / 'a.json').write_text(json.dumps(content))
    for name in names:
        write_image(tmp_path / 'folder' / ('cat' if int(name) % 2 else 'dog') / f'{name}.png', 20, 10)
    write_voc(tmp_path / 'voc', {name: [object_xml('a', (5, 8, 40, 60))] for name in names})
    kinds = {
        YoloTxtDataset: dict(images='images/train', metainfo=dict(classes=('a',))),
        CocoDataset: dict(ann_file='a.json', img_prefix='images/train'),
        ImageFolderDataset: dict(folder='folder'),
        VOCDataset: dict(data_root=str(tmp_path / 'voc')),
    }
    for kind, options in kinds.items():
        options = {'data_root': str(tmp_path), **options}
        found = [
            {record.img_path for record in kind(**options, subset=(which, 0.7), test_mode=which == 'val').records}
            for which in ('train', 'val')
        ]
        assert [len(own) for own in found] == [14, 6] or kind is ImageFolderDataset, kind
        assert not found[0] & found[1] and len(found[0] | found[1]) == 20
    half = YoloTxtDataset(data_root=str(tmp_path), **kinds[YoloTxtDataset], subset=('train', 0.8), fraction=0.5)
    assert len(half) == 8


def test_what_training_leaves_out_does_not_change_the_division(tmp_path):
    """Persons without labelled keypoints, which only a test has, must not put an image on both sides."""
    person = {'id': 1, 'name': 'person', 'keypoints': ['a']}
    images = [dict(id=i, file_name=f'{i}.png', width=20, height=10) for i in range(30)]
    for i in range(30):
        write_image(tmp_path / f'{i}.png', 20, 10)
    entries = [
        dict(id=i, image_id=i, category_id=1, bbox=[1, 1, 5, 5], iscrowd=0, keypoints=[2, 2, 2 * (i % 3 > 0)])
        for i in range(30)
    ]
    (tmp_path / 'a.json').write_text(json.dumps(dict(images=images, annotations=entries, categories=[person])))

    def read(which, **options):
        data = CocoDataset(
            'a.json', keypoints=True, data_root=str(tmp_path), subset=(which, 0.6), test_mode=which == 'val', **options
        )
        return {record.img_path for record in data.records}, data

    (train, data), (val, _) = read('train'), read('val')
    assert not train & val and len(train | val) == 30
    assert all((record.annotations.keypoints[..., 2] > 0).all() for record in data.records)
    left_out = sum(not len(record.annotations) for record in data.records)
    assert left_out and sum(skip.count for skip in data.unused if 'labelled' in skip.reason) == left_out
    (labelled, _), (labelled_val, _) = read('train', only_labelled=True), read('val', only_labelled=True)
    assert labelled < train and labelled_val < val


@pytest.mark.parametrize('config', ['yolov8/det_custom', 'yolov8/seg_custom', 'yolov5/det_custom', 'detr/det_custom'])
def test_one_option_divides_a_data_yaml_without_val(config, tmp_path):
    write_yolo(tmp_path, {f'{i}_{k}': f'{i % 2} 0.5 0.5 0.5 0.5' for i in range(10) for k in range(2)})
    (tmp_path / 'data.yaml').write_text('train: images/train\nnames: [a, b]\n')
    options = dict(data_yaml=str(tmp_path / 'data.yaml'))
    with pytest.raises(DataError, match=r"no key 'val'.*'split': 0\.8"):
        DATASETS.build(load_config(f'configs/{config}.py', options).val_dataloader.dataset)
    for more, count in ((dict(split=0.8), 16), (dict(split=0.8, split_group=r'(\d+)_'), 16)):
        cfg = load_config(f'configs/{config}.py', {**options, **more})
        train, val = (DATASETS.build(cfg[key].dataset) for key in ('train_dataloader', 'val_dataloader'))
        paths = [{record.img_path for record in data.records} for data in (train, val)]
        assert not paths[0] & paths[1] and len(paths[0]) == count and len(paths[0] | paths[1]) == 20
        assert cfg.test_dataloader.dataset == cfg.val_dataloader.dataset and cfg.model.head.num_classes == 2
    groups = [{path.rsplit('/', 1)[1].split('_')[0] for path in own} for own in paths]
    assert not groups[0] & groups[1]


@pytest.mark.default_cases(3)
@pytest.mark.parametrize(
    'config', ['yolov8/det_coco', 'yolov8/pose_coco', 'yolov8/det_voc', 'yolov8/obb_dota', 'yolov8/cls_custom',
               'yolov8/det_n_coco8', 'yolov8/obb_n_dota8', 'yolov8/pose_n_coco8', 'yolov8/det_coco128', 'detr/det_coco',
               'detr/det_voc', 'detr/panoptic_coco', 'detr/det_r18_coco8']
)  # fmt: skip
def test_split_makes_validation_read_the_training_images(config):
    cfg = load_config(f'configs/{config}.py', dict(split=0.9), need_classes=False)
    train, val = cfg.train_dataloader.dataset.to_dict(), cfg.val_dataloader.dataset.to_dict()
    train = train.get('dataset', train)
    subsets = train.pop('subset'), val.pop('subset')
    for key in ('cache', 'fraction', 'pipeline', 'mix_from', 'rect', 'size_divisor', 'test_mode', 'class_folder'):
        train.pop(key, None), val.pop(key, None)
    assert train == val and subsets == (('train', 0.9), ('val', 0.9))
