"""Open Images' csv files: what is read, what is left out alone, what is refused."""

import shutil

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, encoded, odd_words, run_fuzz
from hypothesis import strategies as st
from shape_checks import check_sound, records_by_name

from detkit.datasets import OpenImagesDataset
from detkit.utils.errors import DataError

HEADER = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside'
CLASSES = '/m/0n,Nut\n/m/0b,"Bolt, long"\n/m/0w,Washer\n'


def row(name='a', code='/m/0n', x0=0.1, x1=0.5, y0=0.2, y1=0.6, group=0):
    return f'{name},xclick,{code},1,{x0},{x1},{y0},{y1},0,0,{group},0,0'


def write(root, *rows, classes=CLASSES, header=HEADER):
    write_image(root / 'train/a.jpg', 20, 10)
    write_image(root / 'train/b.jpg', 10, 10)
    (root / 'boxes.csv').write_text('\n'.join((header, *rows)) + '\n')
    (root / 'class-descriptions-boxable.csv').write_text(classes)


def read(root, *rows, **options):
    write(root, *rows)
    dataset = OpenImagesDataset('boxes.csv', data_root=str(root), **{'max_skipped': 1, **options})
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


def test_boxes_are_shares_of_the_image(tmp_path):
    dataset, annotations = read(
        tmp_path, row('b', '/m/0b'), row(), row(x0=-0.01, x1=1.01), row('b', x0=0.5, x1=0.75, y0=0, y1=1, group=1)
    )
    assert dataset.metainfo['classes'] == ('Nut', 'Bolt, long', 'Washer')
    other = records_by_name(dataset)['a.jpg'].annotations
    np.testing.assert_allclose(other.bboxes, [[2, 2, 10, 6], [0, 2, 20, 6]], rtol=1e-6)
    np.testing.assert_allclose(annotations.bboxes, [[1, 2, 5, 6], [5, 0, 7.5, 10]], rtol=1e-6)
    assert annotations.labels.tolist() == [1, 0] and annotations.ignored.tolist() == [False, True]
    np.testing.assert_allclose(annotations.areas, [16, 25], rtol=1e-6)
    assert [record.img_id for record in dataset.records] == ['b', 'a'] and not dataset.skipped
    assert [skip.where for skip in dataset.unused] == ["class 'Washer'"]  # without any object


def test_groups_as_other_programs_write_them(tmp_path):
    flags = ['True', '1.0', '0.0', 'False', 'nan', '-1', '2']
    dataset, annotations = read(tmp_path, *(row(x0=i / 20, group=flag) for i, flag in enumerate(flags)))
    assert annotations.ignored.tolist() == [True, True, False, False, False, False]
    assert [skip.reason for skip in dataset.skipped] == ["IsGroupOf is '2', not 0 or 1"]


def test_images_of_one_id_are_counted(tmp_path):
    write(tmp_path, row())
    (image,) = tmp_path.rglob('a.jpg')
    (image.parent / 'more').mkdir()
    shutil.copy(image, image.parent / 'more' / 'a.jpg')
    dataset, _ = read(tmp_path, row())
    assert [record.img_id for record in dataset.records] == ['a']
    assert 'an image of the same id as an earlier one' in [skip.reason for skip in dataset.unused]


def test_classes_come_from_the_class_file_alone(tmp_path):
    write(tmp_path, row(), classes='LabelName,DisplayName\n' + CLASSES)
    cfg = dict(data_root=str(tmp_path), ann_file='no.csv')
    assert OpenImagesDataset.peek(cfg) == {'classes': ('Nut', 'Bolt, long', 'Washer')}
    codes = OpenImagesDataset('boxes.csv', None, data_root=str(tmp_path))
    assert codes.metainfo['classes'] == ('/m/0n',)
    assert OpenImagesDataset.peek({**cfg, 'ann_file': 'boxes.csv', 'class_file': None})['classes'] == ('/m/0n',)
    dataset, annotations = read(tmp_path, row(code='/m/0w'), row(), metainfo=dict(classes=('Washer',)))
    assert annotations.labels.tolist() == [0] and dataset.unused[-1].where == "class 'Nut'"
    dataset, annotations = read(tmp_path, row(code='/m/0w'), row(), row(x0=0.3), single_class=True)
    assert annotations.labels.tolist() == [0, 0] and 'once single_class merges' in dataset.unused[-1].reason
    with pytest.raises(DataError, match=r"class 'washer' of metainfo is neither in .* Did you mean 'Washer'"):
        read(tmp_path, row(), metainfo=dict(classes=('washer',)))


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (row(x0='x'), 'without the numbers'),
        (row(x0='0_1'), 'without the numbers'),
        (row(x0='nan'), 'no shares of the image'),
        (row(x0=12, x1=60), 'no shares of the image'),
        ('a,xclick,/m/0n,1,0.1', 'without the numbers'),
        (row(name=''), 'without ImageID'),
        (row(code=''), 'without ImageID'),
        (row(x0=0.5, x1=0.5), 'no area inside the image'),
        (row(x0=1.1, x1=1.4), 'no area inside the image'),
    ],
)
def test_a_row_that_breaks_a_rule_is_left_out_alone(tmp_path, text, reason):
    dataset, annotations = read(tmp_path, text, row(code='/m/0b'))
    assert annotations.labels.tolist() == [1]
    (skip,) = dataset.skipped
    assert skip.path.endswith('boxes.csv') and reason in skip.reason and skip.where in (2, 'a box of a.jpg')


def test_codes_of_one_name_are_refused(tmp_path):
    write(tmp_path, row(), row(code='/m/0o'), classes=CLASSES + '/m/0o,Nut\n')
    with pytest.raises(DataError, match="boxes of '/m/0n' and '/m/0o', which class_file=.* both calls 'Nut'"):
        OpenImagesDataset('boxes.csv', data_root=str(tmp_path))
    write(tmp_path, row(), classes=CLASSES + '/m/0o,Nut\n')  # without boxes
    assert len(OpenImagesDataset('boxes.csv', data_root=str(tmp_path)).records[0].annotations) == 1
    write(tmp_path, row(), classes=CLASSES + '/m/0n,Screw\n')
    with pytest.raises(DataError, match="gives '/m/0n' two names: 'Nut' and 'Screw'"):
        OpenImagesDataset('boxes.csv', data_root=str(tmp_path))


def test_images_that_are_not_there_are_counted(tmp_path):
    dataset, annotations = read(tmp_path, row('gone'), row(), row(), row('gone2'), metainfo=dict(classes=('Nut',)))
    assert len(dataset) == 1 and len(annotations) == 1 and not dataset.skipped
    assert [(skip.reason, skip.count) for skip in dataset.unused] == [
        ('an image that no annotation names', 1),
        ('a box of an image that is not in the folder', 2),
        ('the same as an earlier box', 1),
    ]
    write(tmp_path, row(), row('b'))
    (tmp_path / 'train/a.jpg').write_bytes(b'no')
    dataset = OpenImagesDataset('boxes.csv', data_root=str(tmp_path))
    assert list(records_by_name(dataset)) == ['b.jpg'] and 'cannot be read' in dataset.skipped[0].reason


def test_what_is_no_such_file_is_refused(tmp_path):
    write(tmp_path, row('gone'))
    root = str(tmp_path)
    for options, reason in (
        (dict(ann_file='boxes.csv'), "none of the 1 images of .* such as 'gone'.jpg"),
        (dict(ann_file='boxes.csv', images='val'), 'the image folder .* does not exist'),
        (dict(ann_file='class-descriptions-boxable.csv'), 'has no column ImageID, LabelName, XMin'),
        (dict(ann_file='no.csv'), 'cannot be read'),
        (dict(ann_file='boxes.csv', class_file='boxes.csv'), "has the row 'ImageID,Source"),
    ):
        with pytest.raises(DataError, match=reason):
            OpenImagesDataset(data_root=root, **options)
    (tmp_path / 'boxes.csv').write_bytes(b'\xff\x00' + HEADER.encode())
    with pytest.raises(DataError, match='is no text in UTF-8'):
        OpenImagesDataset('boxes.csv', data_root=root)
    (tmp_path / 'boxes.csv').write_bytes((HEADER + '\r\n' + row() + '\r\n').encode('utf-16'))
    assert len(OpenImagesDataset('boxes.csv', data_root=root)) == 1


share = st.floats(-0.1, 1.1).map('{:.3f}'.format)
low, high = st.floats(0, 0.5).map('{:.3f}'.format), st.floats(0.5, 1).map('{:.3f}'.format)
codes = st.sampled_from(['/m/0n', '/m/0b', '/m/0x'])
good = st.builds(
    row, st.sampled_from(['a', 'b', 'gone']), codes, low, high, low, high, st.sampled_from([0, 1, -1, 'x'])
)
odd = st.builds(row, odd_words, codes, share, odd_words | share, share, share)
files = encoded(st.lists(good | odd, max_size=5).map(lambda rows: '\n'.join((HEADER, *rows))))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write(tmp_path)
    seen = {'kept': 0, 'skipped': 0}

    def check(data: bytes) -> None:
        (tmp_path / 'boxes.csv').write_bytes(data)
        dataset = OpenImagesDataset('boxes.csv', data_root=str(tmp_path), max_skipped=1)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    run_fuzz(cases, files | damaged(files), check)
    assert min(seen.values()) > cases // 10


@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_class_files(tmp_path, cases):
    names = st.tuples(codes | odd_words, odd_words).map(','.join)

    def check(data: bytes) -> None:
        (tmp_path / 'classes.csv').write_bytes(data)
        found = OpenImagesDataset.peek(dict(data_root=str(tmp_path), ann_file='', class_file='classes.csv'))
        assert found['classes'] and all(found['classes'])

    texts = encoded(st.lists(names, max_size=3).map(lambda rows: CLASSES + '\n'.join(rows)))
    run_fuzz(cases, texts | damaged(texts), check)
