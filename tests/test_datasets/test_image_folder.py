"""Image folders: classes from names or a list, what is wrong with them, samples and batches."""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detkit.config import load_config
from detkit.datasets import ImageFolderDataset, SampleKey
from detkit.datasets.collate import collate
from detkit.utils.errors import ConfigError, DataError

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeShortestEdge', size=16),
    dict(type='CenterCrop', size=16),
    dict(type='Render'),
    dict(type='PackInputs'),
]


def write_image(path: Path, value: int = 128, shape: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), value, np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three cats, one dog and two images of the class 'a bird'; a validation cat and dog."""
    for name in ('cat/2.png', 'cat/0.png', 'cat/deep/1.png', 'dog/0.png', 'a bird/0.png', 'a bird/1.JPG'):
        write_image(tmp_path / 'train' / name)
    for name in ('cat/0.png', 'dog/0.png'):
        write_image(tmp_path / 'val' / name)
    (tmp_path / 'train' / 'dog' / 'notes.txt').write_text('no image')
    write_image(tmp_path / 'train' / '.hidden' / '0.png')
    return tmp_path


def listed(dataset: ImageFolderDataset) -> list[tuple[str, int]]:
    return [(record.img_id, record.class_label) for record in dataset.records]


def test_classes_are_the_folders_in_order_and_images_take_turns(root):
    dataset = ImageFolderDataset(data_root=str(root), pipeline=PIPELINE)
    assert dataset.metainfo['classes'] == ('a bird', 'cat', 'dog') and dataset.skipped == []
    assert listed(dataset) == [
        ('a bird/0.png', 0),
        ('cat/0.png', 1),
        ('dog/0.png', 2),
        ('a bird/1.JPG', 0),
        ('cat/2.png', 1),
        ('cat/deep/1.png', 1),
    ]
    assert [record.img_path for record in dataset.records][0] == str(root / 'train' / 'a bird' / '0.png')
    half = ImageFolderDataset(data_root=str(root), pipeline=PIPELINE, fraction=0.5)
    assert listed(half) == listed(dataset)[:3]  # one of each class


def test_classes_of_a_list_give_the_labels(root):
    dataset = ImageFolderDataset(data_root=str(root), metainfo=dict(classes=['dog', 'cat', 'a bird']))
    assert dict(listed(dataset))['dog/0.png'] == 0 and dict(listed(dataset))['a bird/0.png'] == 2
    renamed = ImageFolderDataset(
        data_root=str(root), metainfo=dict(classes=['Hund', 'Katze', 'Vogel']), folders=['dog', 'cat', 'a bird']
    )
    assert renamed.metainfo['classes'] == ('Hund', 'Katze', 'Vogel') and listed(renamed) == listed(dataset)


def test_other_splits_take_the_training_classes(root):
    dataset = ImageFolderDataset(data_root=str(root), folder='val', class_folder='train', test_mode=True)
    assert dataset.metainfo['classes'] == ('a bird', 'cat', 'dog')
    assert listed(dataset) == [('cat/0.png', 1), ('dog/0.png', 2)]


def test_a_class_without_an_image(root):
    (root / 'train' / 'ant').mkdir()
    with pytest.raises(DataError, match='1 of the 4 classes have no image in .*train: ant .*allow_empty=True'):
        ImageFolderDataset(data_root=str(root))
    dataset = ImageFolderDataset(data_root=str(root), allow_empty=True)
    assert dataset.metainfo['classes'][1] == 'ant' and 1 not in dict(listed(dataset)).values()
    with pytest.raises(DataError, match='2 of the 5 classes have no image .*: ant, ape '):  # no folder at all
        ImageFolderDataset(
            data_root=str(root), allow_empty=False, metainfo=dict(classes=['a bird', 'ant', 'ape', 'cat', 'dog'])
        )


@pytest.mark.parametrize(
    'options, error, sentence',
    [
        (
            dict(folder='tran'),
            DataError,
            "image folder '.*tran' cannot be read: No such file.* has the folders train.*val_folder=",
        ),
        (
            dict(metainfo=dict(classes=['a bird', 'cat'])),
            DataError,
            "has the folder 'dog', which is none of the 2 classes",
        ),
        (dict(metainfo=dict(classes=['a bird', 'catt', 'dog'])), DataError, "folder 'cat', .* Did you mean 'catt'"),
        (dict(metainfo=dict(classes=['cat', 'dog', 'cat'])), ConfigError, "names 'cat' twice"),
        (dict(folders=['cat']), DataError, "has the folder 'a bird', 'dog', which is none of the 1 classes"),
        (dict(folders=['x'], metainfo=dict(classes=['cat', 'dog'])), ConfigError, '1 folders for 2 classes'),
        (dict(single_class=True), ConfigError, 'nothing to tell apart'),
        (dict(rect=True), DataError, 'image size'),
        (dict(folder='train/cat/deep'), DataError, 'no class folder'),
        (dict(folder='train/cat'), DataError, "one class folder, 'deep', but a classifier needs two"),
    ],
)
def test_mistakes(root, options, error, sentence):
    with pytest.raises(error, match=sentence):
        ImageFolderDataset(data_root=str(root), **options)


def test_images_outside_the_class_folders_are_recorded(root):
    write_image(root / 'train' / 'lost.png')
    dataset = ImageFolderDataset(data_root=str(root))
    assert [skip[:3] for skip in dataset.skipped] == [
        (str(root / 'train' / 'lost.png'), None, 'lies in no class folder')
    ]
    write_image(root / 'train' / 'more.png')
    with pytest.raises(DataError, match='lost.png: lies in no class folder'):
        ImageFolderDataset(data_root=str(root))


@pytest.mark.parametrize('name', ['Dog', 'ca\u0301t'])
def test_names_that_look_alike(root, name):
    write_image(root / 'train' / 'c\xe1t' / '0.png')
    write_image(root / 'val' / name / '0.png')
    with pytest.raises(DataError, match='differs from .* in upper case, blanks or Unicode composition alone'):
        ImageFolderDataset(data_root=str(root), folder='val', class_folder='train', test_mode=True)


def test_classes_that_hardly_differ_are_named(root):
    for name in ('Cat', ' dog', 'a  bird'):
        write_image(root / 'train' / name / '0.png')
    dataset = ImageFolderDataset(data_root=str(root))
    assert len(dataset.metainfo['classes']) == 6 and not dataset.skipped
    assert sorted(os.path.basename(skip.path) for skip in dataset.unused) == ['a bird', 'cat', 'dog']
    assert all('in case, blanks or composition alone' in skip.reason for skip in dataset.unused)


def test_a_folder_around_the_classes_is_no_class(root, tmp_path):
    """Archives are often unpacked into a folder of their own; a Mac adds another one."""
    (root / 'train').rename(root / 'unpacked')
    (root / 'train' / '__MACOSX').mkdir(parents=True)
    (root / 'unpacked').rename(root / 'train' / 'pets')
    with pytest.raises(DataError, match="one class folder, 'pets', .* It holds the folders a bird, cat, dog: if they"):
        ImageFolderDataset(data_root=str(root))
    with pytest.raises(DataError, match="one class folder, 'pets'"):
        ImageFolderDataset.peek(dict(data_root=str(root)))
    (root / 'train' / 'pets').rename(root / 'set')
    (root / 'train' / '__MACOSX').rmdir()
    (root / 'train').rmdir()
    (root / 'outer').mkdir()
    (root / 'set').rename(root / 'outer' / 'train')
    hint = "There is '.*outer/train': set data_root to '.*outer'"
    with pytest.raises(DataError, match=hint):
        ImageFolderDataset(data_root=str(root))
    with pytest.raises(DataError, match=hint):
        ImageFolderDataset.peek(dict(data_root=str(root)))


def test_one_class_is_no_task(root):
    for name in ('a bird', 'dog'):
        (root / 'train' / name).rename(root / name)
    with pytest.raises(DataError, match="one class folder, 'cat', but a classifier needs two.* holds the folders deep"):
        ImageFolderDataset(data_root=str(root))
    with pytest.raises(ConfigError, match="the class 'cat' alone, but a classifier needs two"):
        ImageFolderDataset(data_root=str(root), metainfo=dict(classes=['cat']))


def test_pictures_of_unread_kinds_are_counted(root):
    for name in ('cat/9.heic', 'dog/9.HEIC', 'dog/._9.heic'):
        (root / 'train' / name).touch()
    dataset = ImageFolderDataset(data_root=str(root))
    assert dataset.skipped == [] and [Path(skip.path).name for skip in dataset.unused] == ['9.heic', '9.HEIC']
    (root / 'train' / 'dog' / '0.png').unlink()
    with pytest.raises(
        DataError, match='1 of the 3 classes have no image .*: dog .*2 pictures are of kinds that are not'
    ):
        ImageFolderDataset(data_root=str(root))


def test_a_batch_has_class_labels_and_test_samples_too(root):
    dataset = ImageFolderDataset(data_root=str(root), pipeline=PIPELINE)
    batch = collate(dataset.__getitems__([0, 1, 5]))
    assert batch['inputs'].shape == (3, 3, 16, 16)
    assert batch['gt'].class_labels.tolist() == [0, 1, 1] and batch['gt'].class_labels.dtype == torch.int64
    assert batch['gt'].labels.shape == (3, 0) and 'gt_label' not in batch['data_samples'][0]
    assert batch['gt'].to('cpu').class_labels.tolist() == [0, 1, 1]
    tested = ImageFolderDataset(data_root=str(root), pipeline=PIPELINE, test_mode=True)
    batch = collate(tested.__getitems__([2, 3]))
    assert [sample.gt_label for sample in batch['data_samples']] == [2, 0]


@pytest.mark.parametrize('test_mode', [False, True])
def test_unreadable_images_are_recorded(root, test_mode):
    broken = root / 'train' / 'cat' / '0.png'
    broken.write_bytes(broken.read_bytes()[:40])
    dataset = ImageFolderDataset(data_root=str(root), pipeline=PIPELINE, test_mode=test_mode)
    batch = collate(dataset.__getitems__([SampleKey(0, 0, 0, 0), SampleKey(0, 0, 1, 1)]))
    assert [(path, reason.split(':')[0]) for path, _, reason, *_ in batch['skipped']] == [(str(broken), 'is truncated')]
    if test_mode:
        assert 'truncated' in batch['data_samples'][1].metainfo['skipped']
    else:  # the next image of the batch stands in, with its own class
        assert batch['gt'].class_labels.tolist() == [0, 0]


def test_too_many_unreadable_images_in_a_cached_set(root):
    broken = [root / 'train' / name / '0.png' for name in ('cat', 'dog')]
    os.truncate(broken[0], 40)
    dataset = ImageFolderDataset(data_root=str(root), cache='ram')
    assert [path for path, *_ in dataset.skipped] == [str(broken[0])]
    os.truncate(broken[1], 40)
    with pytest.raises(DataError, match=r'2 of 6 images(.|\n)*is truncated'):
        ImageFolderDataset(data_root=str(root), cache='ram')


def test_records_travel_to_workers_and_names_may_be_any(root):
    write_image(root / 'train' / 'dog' / 'Straße 犬.png')
    dataset = ImageFolderDataset(data_root=str(root))
    copy = pickle.loads(pickle.dumps(dataset.records))
    assert [record.img_path for record in copy] == [record.img_path for record in dataset.records]
    assert any(record.img_path.endswith('Straße 犬.png') and Path(record.img_path).exists() for record in copy)
    assert len(copy[2:4]) == 2 and copy[2:4][0].img_id == copy[2].img_id and copy[-1].img_id == copy[6].img_id
    with pytest.raises(IndexError):
        copy[7]


CONFIG = """
model = dict(type='ImageClassifier', backbone=dict(type='CSPDarknet'), head=dict(type='YOLOv8ClassifyHead'))
train_dataloader = dict(batch_size=2, dataset=dict(type='ImageFolderDataset', data_root='{root}', folder='train'))
val_dataloader = dict(
    batch_size=2,
    dataset=dict(type='ImageFolderDataset', data_root='{root}', folder='val', class_folder='train', test_mode=True))
"""


def test_the_class_count_of_a_config_follows_the_folders(root, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(root=root))
    assert load_config(path).model.head.num_classes == 3
    with pytest.raises(ConfigError, match=r'head.num_classes is 4, but train_dataloader .* names 3 classes'):
        load_config(path, ['+model.head.num_classes=4'])
    path.write_text(CONFIG.format(root=root).replace(", class_folder='train'", ''))
    with pytest.raises(
        ConfigError, match="val_dataloader has 2 classes, but train_dataloader has 3: it lacks 'a bird'"
    ):
        load_config(path)
    path.write_text(CONFIG.format(root=root / 'nowhere'))
    with pytest.raises(ConfigError, match=r"there is no (class_)?folder 'train' in '.*nowhere'"):
        load_config(path)
    path.write_text(CONFIG.format(root=root).replace("folder='train')", "folder='train', foldrs=1)"))
    with pytest.raises(ConfigError, match="no argument 'foldrs'.*'folders'"):
        load_config(path)
