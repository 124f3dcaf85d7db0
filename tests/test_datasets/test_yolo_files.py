"""Which label file belongs to which image, and what is said of those that belong to none."""

import os
import unicodedata

import pytest
from format_helpers import write_image, write_yolo

from detkit.datasets import YoloTxtDataset
from detkit.datasets.formats.yolo_files import find_label_files
from detkit.datasets.skips import skip_lines
from detkit.utils.errors import DataError

BOX = '0 0.5 0.5 0.2 0.4'


def files_of(tmp_path, images, labels, folders=('images', 'labels')):
    """Return the label file's name of each image, and the names of label files without one."""
    for name in images:
        write_image(tmp_path / folders[0] / name, 4, 4)
    (tmp_path / folders[1]).mkdir(exist_ok=True)
    for name in labels:
        (tmp_path / folders[1] / name).write_text(BOX)
    found = find_label_files([str(tmp_path / folders[0] / name) for name in images])
    of_images = [name and os.path.basename(name) for name in found.of_images]
    return of_images, [os.path.basename(name) for name in found.strays]


@pytest.mark.parametrize(
    ('image', 'label'),
    [
        ('a.jpg', 'a.txt'),
        ('Capture_décran 0.jpg', 'Capture_d%C3%A9cran%200.txt'),
        ('a%20b.jpg', 'a b.txt'),
        (unicodedata.normalize('NFD', 'décran.jpg'), unicodedata.normalize('NFC', 'décran.txt')),
        ('IMG_1.JPG', 'img_1.txt'),
        ('a.jpg', 'a.TXT'),
        ('a.jpg', 'a.jpg.txt'),
        ('train.jpg', 'train.txt'),
    ],
)
def test_spellings_of_other_programs(tmp_path, image, label):
    assert files_of(tmp_path, [image, 'z.jpg'], [label]) == ([label, None], [])


def test_no_label_file_is_taken_twice(tmp_path):
    assert files_of(tmp_path, ['a.jpg', 'A.jpg'], ['a.txt']) == (['a.txt', None], [])
    assert files_of(tmp_path, ['a.jpg', 'A.jpg'], ['a.txt', 'A.txt']) == (['a.txt', 'A.txt'], [])


def test_a_second_label_file_of_an_image_is_named(tmp_path):
    labels = ['a.TXT', 'A.txt', 'a.jpg.txt', 'a.txt', 'b.txt']
    assert files_of(tmp_path, ['a.jpg', 'b.jpg'], labels) == (['a.txt', 'b.txt'], ['A.txt', 'a.TXT', 'a.jpg.txt'])


def test_images_that_share_a_label_file_are_counted(tmp_path):
    root = write_yolo(tmp_path, {'a': BOX, 'b': BOX})
    for suffix in ('jpg', 'bmp'):
        write_image(root / f'images/train/a.{suffix}', 20, 10)
    dataset = YoloTxtDataset('images/train', data_root=str(root), metainfo=dict(classes=('x',)))
    assert len(dataset) == 4 and all(len(record.annotations) == 1 for record in dataset.records)
    reason = 'an image whose labels are those of another image of its name'
    assert [(skip.reason, skip.count) for skip in dataset.unused] == [(reason, 1), (reason, 1)]


def test_files_that_belong_to_no_image(tmp_path):
    labels = ['a.txt', 'b.txt', 'c.txt', 'classes.txt', 'README.txt']
    assert files_of(tmp_path, ['a.jpg'], labels) == (['a.txt'], ['b.txt', 'c.txt'])
    write_image(tmp_path / 'images/b.png', 4, 4)  # of another split, or of another list
    (tmp_path / 'images/c.heic').write_bytes(b'')  # said elsewhere
    assert files_of(tmp_path, ['a.jpg'], []) == (['a.txt'], [])


@pytest.mark.parametrize('folders', [('Images', 'Labels'), ('IMAGES/train', 'labels/Train'), ('images', 'LABELS')])
def test_folders_in_another_case(tmp_path, folders):
    (tmp_path / folders[1]).mkdir(parents=True)
    assert files_of(tmp_path, ['a.jpg'], ['a.txt'], folders) == (['a.txt'], [])


def test_relative_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path, {'a': BOX})
    assert find_label_files(['images/train/a.png']).of_images == [os.path.join('labels', 'train', 'a.txt')]


def test_errors_name_the_folder_that_is_needed(tmp_path):
    with pytest.raises(DataError, match="b.txt' belongs to no image, .*a.jpg' has no label"):
        files_of(tmp_path, ['a.jpg'], ['b.txt'])
    write_image(tmp_path / 'photos/a.jpg', 4, 4)
    with pytest.raises(
        DataError, match=r'any of the 1 images in .*photos.*folder of the path is called images.*labels'
    ):
        find_label_files([str(tmp_path / 'photos/a.jpg')])


def test_what_a_dataset_says(tmp_path):
    write_yolo(tmp_path, {'a': BOX, 'b': None, 'c': None, 'd': ''})
    (tmp_path / 'labels/train/x.txt').write_text(BOX)
    (tmp_path / 'images/train/e.heic').write_bytes(b'')
    dataset = YoloTxtDataset('images/train', data_root=str(tmp_path), metainfo={'classes': ('bolt',)})
    lines = list(skip_lines(dataset.unused))
    assert dataset.skipped == [] and len(dataset) == 4
    assert [line.split(' (')[0].split(',')[0] for line in lines] == [
        '2 × a label file that is missing: the image counts as background',
        '1 × a picture of a kind that is not read',
        '1 × a label file that belongs to no image',
    ]
    assert lines[2].endswith('x.txt') and lines[0].endswith('b.png')


def test_missing_images_of_a_list(tmp_path):
    write_yolo(tmp_path, {'a': BOX})
    (tmp_path / 'list.txt').write_text('images/train/a.png\nimages/train/gone.png\nimages/\0.png\n')
    dataset = YoloTxtDataset('list.txt', data_root=str(tmp_path), metainfo={'classes': ('bolt',)}, max_skipped=1)
    assert len(dataset) == 1 and [os.path.basename(skip.path) for skip in dataset.skipped] == ['gone.png', '\0.png']
    assert 'No such file' in dataset.skipped[0].reason and 'a NUL' in dataset.skipped[1].reason


def test_a_name_that_is_no_text_is_printable(tmp_path):
    write_yolo(tmp_path, {'a': BOX})
    with open(os.fsencode(tmp_path / 'labels/train') + b'/caf\xe9.txt', 'w') as file:
        file.write(BOX)
    dataset = YoloTxtDataset('images/train', data_root=str(tmp_path), metainfo={'classes': ('bolt',)})
    (line,) = skip_lines(dataset.unused)
    assert line.encode().endswith(rb'caf\udce9.txt')


def test_a_link_to_its_own_folder_adds_no_image(tmp_path):
    write_yolo(tmp_path, {'a': BOX})
    (tmp_path / 'images/train/again').symlink_to(tmp_path / 'images/train')
    assert len(YoloTxtDataset('images/train', data_root=str(tmp_path), metainfo={'classes': ('bolt',)})) == 1
