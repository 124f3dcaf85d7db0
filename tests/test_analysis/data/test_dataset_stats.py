"""Statistics of datasets, and what is found wrong in them."""

import csv
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from test_analysis.data.tables import table

from detkit.analysis.data.annotations_table import load_splits
from detkit.analysis.data.dataset_page import write_page
from detkit.analysis.data.dataset_report import console_report, issue_lines, write_issues
from detkit.analysis.data.dataset_stats import dataset_stats, split_statistics
from detkit.config import load_config
from detkit.utils.errors import ConfigError, DataError

CLASSES = ('cat', 'dog', 'bird', 'fish')


def write_image(path, seed, shape=(60, 90)):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))


def loader(images, **options):
    return dict(
        batch_size=2,
        dataset=dict(
            type='YoloTxtDataset',
            images=images,
            metainfo=dict(classes=CLASSES),
            pipeline=[dict(type='LoadImageFromFile')],
            **options,
        ),
    )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Cats, dogs and a bird to train on; a dog and a fish to validate with. A picture is in both."""
    root = tmp_path_factory.mktemp('data')
    labels = {
        'train/0': '0 .5 .5 .4 .4\n1 .3 .3 .2 .2\n',
        'train/1': '0 .5 .5 .4 .4\n0 .5 .5 .4 .41\n',
        'train/2': '2 .5 .5 .01 .3\n9 .5 .5 .1 .1\n2 .5 .5 .01 .3\n',
        'train/3': '',
        'val/0': '1 .5 .5 .4 .4\n3 .2 .2 .2 .2\n',
        'val/1': '1 .5 .5 .3 .3\n',
    }
    for seed, (name, text) in enumerate(labels.items()):
        write_image(root / 'images' / f'{name}.png', seed)
        path = root / 'labels' / f'{name}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    img = cv2.imread(str(root / 'images' / 'train' / '1.png'))
    cv2.imwrite(str(root / 'images' / 'val' / '1.png'), cv2.resize(img, (180, 120)))
    shutil.copy(root / 'images' / 'train' / '3.png', root / 'images' / 'train' / '4.png')
    return root


def config(root, **keys):
    return named(
        root,
        dict(
            train_dataloader=loader('images/train', data_root=str(root)),
            val_dataloader=loader('images/val', data_root=str(root)),
            **keys,
        ),
    )


def named(folder, values):
    path = folder / 'mine.py'
    path.write_text('')
    return Config(values, filename=str(path))


@pytest.fixture(scope='module')
def stats(root):
    return dataset_stats(config(root))


def test_counts(stats):
    train, val = stats.tables
    assert (train.name, val.name) == ('train', 'val')
    assert stats.tables[0].class_counts()[0].tolist() == [2, 1, 1, 0] and stats.tables[0].class_counts()[
        1
    ].tolist() == [3, 1, 1, 0]
    assert stats.tables[1].class_counts()[1].tolist() == [0, 2, 0, 1]
    statistics = split_statistics(stats.tables[0])
    assert statistics['images'] == 5 and statistics['objects'] == 5 and statistics['without an object'] == 2
    assert statistics['median, most'] == '1, 2' and statistics['most frequent size'] == '90 x 60 (100%)'
    assert statistics['broken entries left out'] == 1 and statistics['entries not used'] == 3
    assert statistics['classes seen'] == '3 of 4' and statistics['most : least frequent'] == '3 : 1'
    assert split_statistics(stats.tables[1])['smallest, largest'] == '90 x 60, 180 x 120'


def test_sizes_go_by_the_annotated_areas_as_those_of_the_metrics():
    bboxes = [[0, 0, 100, 100]] * 4
    statistics = split_statistics(table(bboxes, areas=np.array([500.0, 5000.0, 9000.0, 10000.0])))
    assert statistics['small, medium, large'] == '25%, 50%, 25%'
    rbboxes = np.array([[50, 50, 90, 10, 0.7]] * 4)
    assert split_statistics(table(bboxes, rbboxes=rbboxes))['small, medium, large'] == '100%, 0%, 0%'


def test_classes_that_one_split_lacks(stats):
    assert stats.class_problems() == {
        'only in val, never in train': ['fish'],
        'only in train, never in val': ['cat', 'bird'],
    }


def test_suspicious_labels(stats):
    assert [(one.kind, int(stats.tables[0].images[one.index])) for one in stats.label_issues[0]] == [
        ('tiny', 2),
        ('duplicate', 1),
    ]
    assert stats.label_issues[1] == []


def test_images_that_recur(stats):
    assert [(group.members, group.identical) for group in stats.near_duplicates] == [
        (((0, 1), (1, 1)), False),
        (((0, 3), (0, 4)), True),
    ]
    assert [group.splits for group in stats.near_duplicates] == [(0, 1), (0,)]


def test_report(stats, tmp_path):
    text = console_report(stats)
    assert '| cat   |             3 |      2 |' in text and 'class id out of range' in text
    assert 'train: broken, left out: 1 × class id out of range' in text
    assert 'train: not used: 1 × the same as an earlier line' in text
    lines = list(issue_lines(stats))
    assert any('across splits' in line and 'flattered' in line for line in lines)
    assert 'train: 1 label duplicate: two objects of one class with almost the same box (IoU above 0.9)' in lines
    assert write_issues(stats, tmp_path / 'out' / 's.csv') == 6
    rows = list(csv.DictReader((tmp_path / 'out' / 's.csv').open()))
    assert [row['kind'] for row in rows] == [
        'tiny',
        'duplicate',
        'near duplicate',
        'near duplicate',
        'near duplicate',
        'near duplicate',
    ]
    assert rows[0]['class'] == 'bird' and rows[0]['object'] == '0' and rows[0]['image'].endswith('2.png')
    write_page(stats, tmp_path / 'page.html')
    page = (tmp_path / 'page.html').read_text()
    assert page.count('data:image/jpeg') == 4  # two labels, two groups
    unused = [skip.reason for table in stats.tables for skip in table.unused]
    assert page.count('data-value="not used"') == len(unused) > 2 and all(reason in page for reason in unused)
    assert 'Only in val, never in train: fish.' in page and page.count('<svg') == 7


def test_only_one_split_and_no_looking(root):
    stats = dataset_stats(config(root), ['train'], find_duplicates=False)
    assert stats.near_duplicates is None and stats.class_problems() == {'never seen in train': ['fish']}
    assert 'look the same' not in console_report(stats)


def test_data_without_validation_are_all_that_there_is(root):
    cfg = config(root)
    cfg.val_dataloader = None
    assert [table.name for table in dataset_stats(cfg).tables] == ['train']
    with pytest.raises(ConfigError, match='no val_dataloader; it has one for train'):
        load_splits(cfg, ['train', 'val'])
    cfg.train_dataloader = None
    with pytest.raises(ConfigError, match='no train_dataloader; it has one for no split'):
        load_splits(cfg)


def test_a_loader_of_the_same_data_is_left_out(root):
    cfg = config(root, test_dataloader=loader('images/val', data_root=str(root), cache='ram'))
    assert [table.name for table in load_splits(cfg, ['train', 'val', 'test'])] == ['train', 'val']


def test_data_sets_made_of_others_count_once(root):
    part = loader('images/val', data_root=str(root))['dataset']
    whole = dict(type='RepeatDataset', times=3, dataset=dict(type='ConcatDataset', datasets=[part, part]))
    (table,) = load_splits(named(root, dict(train_dataloader=dict(dataset=whole))), ['train'])
    assert len(table.records) == 4 and table.labels.tolist() == [1, 3, 1] * 2
    assert table.images.tolist() == [0, 0, 1, 2, 2, 3] and table.numbers.tolist() == [0, 1, 0, 0, 1, 0]


def test_mistakes(root):
    with pytest.raises(ConfigError, match='no test_dataloader; it has one for train, val'):
        load_splits(config(root), ['test'])
    cfg = config(root)
    cfg.val_dataloader.dataset.metainfo = dict(classes=('cat', 'dog', 'fish', 'bird'))
    with pytest.raises(DataError, match="label 2 is 'bird' in train, but 'fish' in val"):
        load_splits(cfg)


def test_a_classifier(tmp_path):
    for seed, name in enumerate(('train/a/0', 'train/b/0', 'train/b/1', 'val/a/0', 'val/b/0')):
        write_image(tmp_path / f'{name}.png', seed)
    shutil.copy(tmp_path / 'train/a/0.png', tmp_path / 'val/b/2.png')
    (tmp_path / 'val/b/3.png').write_bytes(b'no picture')
    parts = {
        f'{split}_dataloader': dict(
            dataset=dict(type='ImageFolderDataset', data_root=str(tmp_path), folder=split, class_folder='train')
        )
        for split in ('train', 'val')
    }
    stats = dataset_stats(named(tmp_path, parts))
    assert stats.classifies and stats.tables[0].class_counts()[1].tolist() == [1, 2]
    (group,) = stats.near_duplicates
    assert group.identical and group.differences == ('', 'b in place of a')
    lines = list(issue_lines(stats))
    assert any('different labels, such as 2.png of val: b in place of a' in line for line in lines)
    assert any('1 image cannot be read' in line for line in lines)
    assert 'objects' not in console_report(stats)
    write_page(stats, tmp_path / 'page.html')
    assert 'Suspicious' not in (tmp_path / 'page.html').read_text()


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(('name', 'data'), [('obb_custom', 'obb'), ('pose_custom', 'pose_custom'), ('seg_coco', '')])
def test_other_tasks(repo, tiny_data, tmp_path, name, data):
    option = f'data_yaml={tiny_data / data / "data.yaml"}' if data else f'data_root={tiny_data}'
    cfg = load_config(repo / f'configs/yolov8/{name}.py', [option], need_classes=False)
    stats = dataset_stats(cfg)
    table = stats.tables[0]
    assert len(table.labels) == 4 and (table.rbboxes is not None) == (data == 'obb')
    assert (table.keypoints is not None) == (data == 'pose_custom') and (table.outlines is not None) == (data == '')
    write_page(stats, tmp_path / 'page.html')
    page = (tmp_path / 'page.html').read_text()
    assert ('Direction of the objects' in page) == (data == 'obb')
    assert ('Labelled keypoints' in page) == (data == 'pose_custom')
