"""Hugging Face datasets: what is read, what is left out alone, what is refused.

Where the package is not installed, a stand-in has the calls that are needed of it.
"""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, replaced, run_fuzz, values
from hypothesis import strategies as st
from shape_checks import check_sound, reasons, records_by_name

from detkit.datasets import HuggingFaceDataset
from detkit.utils.errors import ConfigError, DataError


class Image:
    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    def __init__(self, names):
        self.names = names


class List:
    def __init__(self, feature):
        self.feature = feature


class Rows:
    """The calls of ``datasets.Dataset`` that are used."""

    def __init__(self, rows, features):
        self.rows, self.features = rows, features

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        return [row.get(key) for row in self.rows] if isinstance(key, str) else self.rows[key]

    def cast_column(self, name, feature):
        assert not feature.decode
        return Rows(self.rows, {**self.features, name: feature})


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType('datasets')
    module.Image, module.on_disk = Image, {}

    def load_from_disk(folder):
        if folder not in module.on_disk:
            raise FileNotFoundError(f'Directory {folder} is neither a Dataset nor a DatasetDict')
        return module.on_disk[folder]

    module.load_from_disk = load_from_disk
    monkeypatch.setitem(sys.modules, 'datasets', module)
    return module


NAMED = {'image': Image(), 'objects': {'bbox': List(None), 'category': List(ClassLabel(['nut', 'bolt']))}}
PLAIN = {'image': Image(), 'objects': {'bbox': List(None), 'category': List(None)}}


def picture(tmp_path, name='a.png'):
    write_image(tmp_path / 'source' / name, 20, 10)
    return (tmp_path / 'source' / name).read_bytes()


def row(data, bboxes=((2, 1, 6, 4),), categories=(1,), path='a.png', **more):
    objects = {'id': [5] * len(bboxes), 'bbox': [list(own) for own in bboxes], 'category': list(categories), **more}
    return {'image': {'bytes': data, 'path': path}, 'objects': objects}


def read(tmp_path, *rows, features=NAMED, bbox_format='xywh', **options):
    options = {'data_root': str(tmp_path / 'set'), 'max_skipped': 1, **options}
    (tmp_path / 'set').mkdir(exist_ok=True)
    dataset = HuggingFaceDataset(bbox_format, dataset=Rows(list(rows), features), **options)
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


@pytest.mark.parametrize(
    ('bbox_format', 'normalized', 'bbox'),
    [
        ('xywh', False, (2, 1, 6, 4)),
        ('xyxy', False, (2, 1, 8, 5)),
        ('cxcywh', False, (5, 3, 6, 4)),
        ('xywh', True, (0.1, 0.1, 0.3, 0.4)),
        ('xyxy', True, (0.1, 0.1, 0.4, 0.5)),
        ('cxcywh', True, (0.25, 0.3, 0.3, 0.4)),
    ],
)
def test_the_format_of_boxes_is_stated(tmp_path, stand_in, bbox_format, normalized, bbox):
    options = dict(bbox_format=bbox_format, normalized=normalized)
    dataset, annotations = read(tmp_path, row(picture(tmp_path), [bbox]), **options)
    np.testing.assert_allclose(annotations.bboxes, [[2, 1, 8, 5]], rtol=1e-6)
    assert annotations.labels.tolist() == [1] and dataset.metainfo['classes'] == ('nut', 'bolt')
    with pytest.raises(ConfigError, match="bbox_format='coco' is not one of 'xywh'"):
        read(tmp_path, row(b''), bbox_format='coco')


def test_corners_that_are_said_to_be_something_else_are_refused(tmp_path, stand_in):
    corners = [(x, y, x + 6, y + 4) for x in (0, 5, 9, 13) for y in (0, 2, 5)]
    rows = row(picture(tmp_path), corners, [1] * 12)
    assert len(read(tmp_path, rows, bbox_format='xyxy')[1]) == 12
    for bbox_format in ('xywh', 'cxcywh'):
        with pytest.raises(DataError, match=f"Set bbox_format to 'xyxy'; it is {bbox_format!r}"):
            read(tmp_path, rows, bbox_format=bbox_format)


def test_stored_images_are_written_once(tmp_path, stand_in):
    data = picture(tmp_path)
    rows = [
        row(data, path='../x y/a.png'),
        row(data, path=None),
        row(data, path='.hidden'),
        row(data, path='C:\\b.png'),
    ]
    dataset, _ = read(tmp_path, *rows)
    names = ['00000000-a.png', '00000001-.png', '00000002-.hidden.png', '00000003-b.png']
    assert list(records_by_name(dataset)) == names
    written = [Path(record.img_path) for record in dataset.records]
    assert all(path.read_bytes() == data for path in written)
    assert {path.parent for path in written} == {tmp_path / 'set/detkit_images'}
    times = [path.stat().st_mtime_ns for path in written]
    read(tmp_path, *rows)
    assert [path.stat().st_mtime_ns for path in written] == times
    dataset, _ = read(
        tmp_path, row(None, path=str(tmp_path / 'source/a.png')), row(None, path='gone.png'), row(b'no', path='x')
    )
    assert dataset.records[0].img_path == str(tmp_path / 'source/a.png')
    assert ["'gone.png'" in reasons(dataset.skipped)[0], 'cannot be read' in reasons(dataset.skipped)[1]] == [True] * 2


def test_labels(tmp_path, stand_in):
    data = picture(tmp_path)
    dataset, annotations = read(tmp_path, row(data, categories=['bolt']), features=PLAIN)
    assert dataset.metainfo['classes'] == ('bolt',) and annotations.labels.tolist() == [0]
    dataset, annotations = read(tmp_path, row(data), features=PLAIN)
    assert dataset.metainfo['classes'] == ('0', '1') and annotations.labels.tolist() == [1]
    dataset, annotations = read(tmp_path, row(data), features=PLAIN, metainfo=dict(classes=('cat', 'dog')))
    assert annotations.labels.tolist() == [1]
    dataset, annotations = read(tmp_path, row(data), metainfo=dict(classes=('bolt',)))
    assert annotations.labels.tolist() == [0]
    listed = {'image': {'bytes': data, 'path': 'a.png'}, 'objects': [{'bbox': [2, 1, 6, 4], 'label': 'nut'}]}
    _, annotations = read(tmp_path, listed, features={'image': Image(), 'objects': [{'label': None}]})
    assert len(annotations) == 1
    _, annotations = read(tmp_path, row(data, [[1, 1, 2, 2]] * 2, [0, 1], iscrowd=[1, 0]))
    assert annotations.ignored.tolist() == [True, False]


@pytest.mark.parametrize(
    ('bbox', 'category', 'reason'),
    [
        ((2, 1, 6), 1, 'no list of 4 numbers'),
        ((2, 1, 0, 4), 1, 'a width or height of 0x4; is bbox_format right?'),
        ((2, 1, float('nan'), 4), 1, 'the coordinate nan'),
        ((2, 1, 6, 4), 7, "the label '7'"),
        ((2, 1, 6, 4), None, "the label 'None'"),
        ((30, 1, 6, 4), 1, 'no area inside the image'),
    ],
)
def test_an_object_that_breaks_a_rule_is_left_out_alone(tmp_path, stand_in, bbox, category, reason):
    dataset, annotations = read(tmp_path, row(picture(tmp_path), [bbox, (0, 0, 5, 5)], [category, 0]))
    assert annotations.labels.tolist() == [0]
    (skip,) = dataset.skipped
    assert reason in skip.reason and skip.where == 'row 0, object 1'


def test_folders_and_splits(tmp_path, stand_in):
    rows, root = Rows([row(picture(tmp_path))], NAMED), str(tmp_path / 'set')
    (tmp_path / 'set').mkdir()
    stand_in.on_disk[root] = rows
    assert len(HuggingFaceDataset('xywh', data_root=root)) == 1
    assert HuggingFaceDataset.peek(dict(data_root=root)) == {'classes': ('nut', 'bolt')}
    with pytest.raises(ConfigError, match='has no splits; leave split out'):
        HuggingFaceDataset('xywh', split='train', data_root=root)
    stand_in.on_disk[root] = {'train': rows, 'test': rows}
    assert len(HuggingFaceDataset('xywh', split='train', data_root=root)) == 1
    with pytest.raises(
        DataError, match="has the splits 'train', 'test'; set split to one of them. Did you mean 'train'"
    ):
        HuggingFaceDataset('xywh', split='trian', data_root=root)
    for options, reason in (
        (dict(image_column='img'), "has no column 'img', but image, objects; set image_column"),
        (dict(objects_column='object'), "no column 'object'.*set objects_column. Did you mean 'objects'"),
    ):
        with pytest.raises(DataError, match=reason):
            HuggingFaceDataset('xywh', split='train', data_root=root, **options)
    with pytest.raises(DataError, match='cannot be read as a Hugging Face dataset.*save_to_disk'):
        HuggingFaceDataset('xywh', data_root=str(tmp_path))
    with pytest.raises(ConfigError, match='needs data_root'):
        HuggingFaceDataset('xywh')


def test_the_package_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(ConfigError, match=r"needs the package datasets .*pip install 'detkit\[hf\]'"):
        HuggingFaceDataset('xywh', data_root=str(tmp_path))


def test_the_package_itself(tmp_path):
    datasets = pytest.importorskip('datasets')
    write_image(tmp_path / 'a.png', 20, 10)
    features = datasets.Features(
        {
            'image': datasets.Image(),
            'objects': datasets.Sequence(
                {
                    'bbox': datasets.Sequence(datasets.Value('float32'), length=4),
                    'category': datasets.ClassLabel(names=['nut', 'bolt']),
                }
            ),
        }
    )
    objects = [{'bbox': [[2, 1, 6, 4]], 'category': [1]}, {'bbox': [], 'category': []}]
    data = {'image': [str(tmp_path / 'a.png')] * 2, 'objects': objects}
    made = datasets.Dataset.from_dict(data, features=features)
    datasets.DatasetDict(train=made).save_to_disk(tmp_path / 'set')
    dataset = HuggingFaceDataset('xywh', split='train', data_root=str(tmp_path / 'set'))
    assert dataset.metainfo['classes'] == ('nut', 'bolt') and not dataset.skipped
    assert [record.annotations.bboxes.tolist() for record in dataset.records] == [[[2, 1, 8, 5]], []]
    assert HuggingFaceDataset.peek(dict(data_root=str(tmp_path / 'set'), split='train'))['classes'] == ('nut', 'bolt')
    with pytest.raises(DataError, match='cannot be read as a Hugging Face dataset'):
        HuggingFaceDataset('xywh', data_root=str(tmp_path))


boxes = st.lists(st.lists(st.floats(-5, 25), min_size=3, max_size=4) | values, max_size=4)
good = st.lists(st.tuples(*[st.floats(0, 5)] * 2, *[st.floats(1, 9)] * 2).map(list), max_size=3)
labels = st.lists(st.sampled_from([0, 1, 1, 2, 'nut', 'washer', None]) | values, max_size=4)
objects = st.fixed_dictionaries({'bbox': good | boxes, 'category': labels, 'iscrowd': labels})
whole = good.map(lambda own: {'bbox': own, 'category': [1] * len(own)})
listed = st.lists(st.fixed_dictionaries({'bbox': values, 'label': values}), max_size=3)


@pytest.mark.thorough
@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_odd_rows(tmp_path, stand_in, cases):
    data = picture(tmp_path)
    images = st.just({'bytes': data, 'path': 'a.png'}) | replaced(
        {'bytes': data, 'path': 'a.png'}, st.text() | st.none()
    )
    rows = st.fixed_dictionaries(
        {'image': images, 'objects': objects | whole | objects.flatmap(replaced) | listed | values}
    )
    seen = {'kept': 0, 'skipped': 0}
    (tmp_path / 'set').mkdir()

    def check(case: tuple[list, bool, str]) -> None:
        own, named, bbox_format = case
        given = Rows(own, NAMED if named else PLAIN)
        options = dict(dataset=given, data_root=str(tmp_path / 'set'), max_skipped=1)
        dataset = HuggingFaceDataset(bbox_format, **options)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    formats = st.sampled_from(['xywh', 'xyxy', 'cxcywh'])
    run_fuzz(cases, st.tuples(st.lists(rows, max_size=3), st.booleans(), formats), check)
    assert min(seen.values()) > cases // 10


def test_labels_of_one_name_are_refused(tmp_path, stand_in):
    features = {'image': Image(), 'objects': {'bbox': List(None), 'category': List(ClassLabel(['nut', 'bolt', 'nut']))}}
    for options in ({}, {'metainfo': {'classes': ('nut', 'bolt')}}):
        with pytest.raises(DataError, match="the ClassLabel of the objects names the class 'nut' more than once"):
            read(tmp_path, row(picture(tmp_path)), features=features, **options)


def test_images_of_two_splits_or_datasets_are_files_of_their_own(tmp_path, stand_in):
    data = [picture(tmp_path, name) for name in ('a.png', 'b.png')]
    data[1] = data[1] + b'\0'  # other contents, and another length
    swapped = bytearray(data[0])
    swapped[-1] ^= 1  # the same length
    found = [read(tmp_path, row(own, path=None))[0] for own in (*data, bytes(swapped), data[0])]
    paths = [Path(dataset.records[0].img_path) for dataset in found]
    assert [path.read_bytes() for path in paths[:3]] == [*data, bytes(swapped)] and paths[3] == paths[0]
    assert not any('no annotation names' in reason for own in found for reason in reasons(own.unused))
    root = str(tmp_path / 'set')
    stand_in.on_disk[root] = {split: Rows([row(own)], NAMED) for split, own in zip(('train', 'v/l'), data, strict=True)}
    for split, own in zip(('train', 'v/l'), data, strict=True):
        dataset = HuggingFaceDataset('xywh', split=split, data_root=root)
        path = Path(dataset.records[0].img_path)
        assert path.read_bytes() == own and path.parent == Path(root, 'detkit_images', split.replace('/', '_'))
