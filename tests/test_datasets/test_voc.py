"""PASCAL VOC's files: what is read, what is left out alone, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from tiny_voc import object_xml, write_tiny_voc, write_voc

from detkit.config import load_config
from detkit.datasets import VOCDataset, build_dataloader
from detkit.datasets.formats.voc import discover_classes, read_split, read_voc_xml
from detkit.utils.errors import ConfigError, DataError

CONFIGS = Path(__file__).parents[2] / 'configs'
CAT, DOG = object_xml('cat', (1, 1, 10, 5)), object_xml('dog', (3, 4, 20, 10), 1)


def write_one(tmp_path: Path, *objects: str, **options) -> Path:
    return write_voc(tmp_path, {'a': list(objects)}, {'train': ['a']}, (20, 10), **options)


def annotations_of(root: Path, **options):
    dataset = VOCDataset(**{'data_root': str(root), 'splits': 'train', **options})
    return dataset, dataset.records[0].annotations


def test_pixels_count_from_one_and_include_the_last(tmp_path):
    dataset, annotations = annotations_of(write_one(tmp_path, CAT, DOG, object_xml('cat', (1, 1, 20, 10), None)))
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert annotations.bboxes.tolist() == [[0, 0, 10, 5], [2, 3, 20, 10], [0, 0, 20, 10]]
    assert annotations.bboxes.dtype == np.float32 and annotations.labels.tolist() == [0, 1, 0]
    assert annotations.ignored.tolist() == [False, True, False] and annotations.areas.tolist() == [50, 126, 200]
    record = dataset.records[0]
    assert (record.img_id, record.ori_shape) == ('a', (10, 20)) and dataset.skipped == []
    _, annotations = annotations_of(tmp_path, one_based=False)
    assert annotations.bboxes[0].tolist() == [1, 1, 10, 5]


def test_an_image_without_objects_and_parts_of_objects(tmp_path):
    head = '<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>'
    objects = {'none': [], 'one': [object_xml('person', ('1', '2', '9.7', ' 8 '), 0, head)]}
    write_voc(tmp_path, objects, {'train': ['none', 'one']})
    dataset, annotations = annotations_of(tmp_path)
    assert len(dataset) == 2 and len(annotations) == 0
    assert dataset.metainfo['classes'] == ('person',)
    np.testing.assert_allclose(dataset.records[1].annotations.bboxes, [[0, 1, 9.7, 8]], rtol=1e-6)


def test_the_classes_of_a_list_give_the_order(tmp_path):
    root = write_one(tmp_path, CAT, DOG, object_xml('cow', (2, 2, 8, 8)))
    dataset, annotations = annotations_of(root, metainfo=dict(classes=('dog', 'cat')))
    assert annotations.labels.tolist() == [1, 0] and dataset.skipped == []
    _, annotations = annotations_of(root, single_class=True)
    assert annotations.labels.tolist() == [0, 0, 0]
    with pytest.raises(DataError, match=r"one of the 2 classes of metainfo.*'cat' \(1\).*Did you mean 'cat'"):
        annotations_of(root, metainfo=dict(classes=('Cat', 'horse')))


def test_several_splits_and_years(tmp_path):
    root = write_tiny_voc(tmp_path) / 'voc'
    dataset = VOCDataset(splits=['VOC2007/trainval', 'VOC2012/trainval'], data_root=str(root))
    assert [record.img_id for record in dataset.records] == [
        '2007_trainval0',
        '2007_trainval1',
        '2012_trainval0',
        '2012_trainval1',
    ]
    assert len(VOCDataset(splits='VOC2007/test', data_root=str(root))) == 2


def test_lists_of_a_class_name_the_images_that_show_it(tmp_path):
    path = tmp_path / 'cat_train.txt'
    path.write_text('a  1\nb -1\n\nc  0\na  1\n')
    assert read_split(path) == ['a', 'c']
    path.write_text('b -1\n')
    with pytest.raises(DataError, match='names no image'):
        read_split(path)


def test_a_folder_without_lists(tmp_path):
    write_voc(tmp_path, {'b': [CAT], 'a': [DOG]}, {})
    dataset = VOCDataset(data_root=str(tmp_path))
    assert [record.img_id for record in dataset.records] == ['a', 'b']
    flat = VOCDataset(data_root=str(tmp_path), images='JPEGImages', annotations='Annotations', test_mode=True)
    assert flat.metainfo['classes'] == ('cat', 'dog')


def test_images_alone(tmp_path):
    root = write_one(tmp_path, CAT)
    (root / 'Annotations' / 'a.xml').unlink()
    dataset, annotations = annotations_of(root, annotations=None, metainfo=dict(classes=('cat',)), test_mode=True)
    assert len(dataset) == 1 and len(annotations) == 0
    with pytest.raises(DataError, match='names no classes'):
        annotations_of(root, annotations=None)


def test_the_image_may_be_named_in_the_file_alone(tmp_path):
    root = write_one(tmp_path, CAT)
    (root / 'Annotations' / 'a.xml').rename(root / 'Annotations' / 'label1.xml')
    dataset = VOCDataset(data_root=str(root))
    assert dataset.records[0].img_path.endswith('a.jpg') and dataset.records[0].img_id == 'a'


@pytest.mark.parametrize(
    ('entry', 'reason'),
    [
        (object_xml('', (1, 1, 5, 5)), 'no <name>'),
        (object_xml('cat', (1, 1, 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, 'five', 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, 'nan', 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, 5, 5), 'maybe'), "<difficult> is 'maybe'"),
        (object_xml('cat', (9, 1, 5, 5)), 'no area inside the image'),
        (object_xml('cat', (25, 1, 30, 5)), 'no area inside the image'),
    ],
)
def test_an_object_that_breaks_a_rule_is_left_out_alone(tmp_path, entry, reason):
    dataset, annotations = annotations_of(write_one(tmp_path, entry, DOG), metainfo=dict(classes=('cat', 'dog')))
    assert annotations.labels.tolist() == [1]
    ((path, where, found, *_),) = dataset.skipped
    assert path.endswith('a.xml') and where == 'object 1' and reason in found


def test_boxes_end_at_the_border_and_repeats_are_left_out(tmp_path):
    twice = object_xml('dog', (5, 5, 99, 99))
    dataset, annotations = annotations_of(write_one(tmp_path, CAT, twice, twice))
    assert annotations.bboxes.tolist() == [[0, 0, 10, 5], [4, 4, 20, 10]]
    assert dataset.skipped == [] and [skip.where for skip in dataset.unused] == ['object 3']


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (lambda root: (root / 'Annotations' / 'b.xml').unlink(), 'cannot be read'),
        (lambda root: (root / 'Annotations' / 'b.xml').write_text('<annotation><object>'), 'cannot be read'),
        (lambda root: (root / 'Annotations' / 'b.xml').write_text('<html/>'), 'its root is <html>'),
        (lambda root: (root / 'JPEGImages' / 'b.jpg').unlink(), 'no image of this name'),
        (lambda root: (root / 'JPEGImages' / 'b.jpg').write_bytes(b'no'), 'the image cannot be read'),
        (
            lambda root: write_voc(
                root, {'b': [CAT]}, size_wh=(10, 20), stated='<size><width>20</width><height>10</height></size>'
            ),
            'states 20x10',
        ),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out_alone(tmp_path, spoil, reason):
    write_voc(tmp_path, {'a': [CAT], 'b': [DOG]}, {'train': ['a', 'b']}, (20, 10))
    spoil(tmp_path)
    dataset = VOCDataset(splits='train', data_root=str(tmp_path), metainfo=dict(classes=('cat', 'dog')))
    assert [record.img_id for record in dataset.records] == ['a']
    assert len(dataset.skipped) == 1 and reason in dataset.skipped[0][2]
    if 'states' in reason:
        assert len(VOCDataset(splits='train', data_root=str(tmp_path), check_size=False)) == 2


def test_a_size_of_nought_is_none(tmp_path):
    sizes = '<size><width>0</width><height>0</height></size>', '', '<size><width>x</width></size>'
    for number, size in enumerate(sizes):
        root = write_one(tmp_path / str(number), CAT, stated=size)
        assert len(VOCDataset(splits='train', data_root=str(root))) == 1
        assert read_voc_xml(root / 'Annotations' / 'a.xml').size is None


def test_too_much_left_out_is_an_error(tmp_path):
    bad = object_xml('cat', (9, 9, 2, 2))
    with pytest.raises(DataError, match=r'2 of 4 images and objects.*max_skipped'):
        annotations_of(write_one(tmp_path, CAT, bad, bad))


def test_mistakes_in_the_config_name_the_remedy(tmp_path):
    root = write_one(tmp_path, CAT)
    with pytest.raises(DataError, match="'val.txt' cannot be read|val.txt.*there are train.*VOC2007/trainval"):
        annotations_of(root, splits='val')
    with pytest.raises(DataError, match='image folder .*pictures.* does not exist'):
        annotations_of(root, images='pictures')
    with pytest.raises(DataError, match='no annotation file'):
        VOCDataset(data_root=str(root), annotations='labels')
    for options in (dict(splits=()), dict(annotations=None)):
        with pytest.raises(ConfigError, match='splits'):
            VOCDataset(data_root=str(root), **options)


def test_a_config_finds_the_classes_in_the_files(tmp_path):
    root = write_tiny_voc(tmp_path) / 'voc'
    assert discover_classes([root / 'VOC2007' / 'Annotations', root / 'none']) == ('dog', 'person')
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = [{str(CONFIGS / '_base_/models/yolov8_det.py')!r}, {str(CONFIGS / '_base_/datasets/voc.py')!r},
          {str(CONFIGS / '_base_/schedules/yolov8_500e.py')!r}, {str(CONFIGS / '_base_/default_runtime.py')!r}]
task = 'det'
""")
    options = dict(data_root=str(root), num_workers=0, batch_size=2, img_size=64)
    assert load_config(config, options).model.head.num_classes == 20
    config.write_text(
        config.read_text() + 'train_dataloader = dict(dataset=dict(metainfo=None))\n'
        'val_dataloader = dict(dataset=dict(metainfo=None))\ntest_dataloader = val_dataloader\n'
    )
    cfg = load_config(config, options)
    assert cfg.model.head.num_classes == 2
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    assert batch['inputs'].shape == (2, 3, 64, 64)
