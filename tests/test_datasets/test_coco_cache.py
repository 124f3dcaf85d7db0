"""Kept annotations of COCO files: the same as parsed ones, and of a damaged file nothing."""

import json
import zipfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from format_helpers import write_image
from pycocotools import mask as coco_mask

from detkit.datasets import CocoDataset
from detkit.datasets.formats import coco_cache
from detkit.datasets.formats.coco_cache import read_annotations
from detkit.datasets.formats.coco_columns import Columns, read_columns
from detkit.datasets.formats.coco_json import read_in_blocks


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """The folder of kept annotations, which small files get, too."""
    monkeypatch.setattr(coco_cache, '_LEAST_BYTES', 0)
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'annotations'


@pytest.fixture
def ann_file(tmp_path) -> Path:
    """A file with outlines, bitmaps, keypoints, crowds, broken entries, and ids of all kinds."""
    frame = np.zeros((40, 50), np.uint8, 'F')
    frame[5:20, 7:30] = 1
    rle = coco_mask.encode(frame)
    bitmap = {'size': [40, 50], 'counts': rle['counts'].decode()}
    base = {'image_id': 1, 'category_id': 3, 'bbox': [7, 5, 23, 15], 'iscrowd': 0, 'area': 300.5}
    ring = [7.25, 5, 30, 5, 30, 20]
    entries = [
        {'id': 1, **base, 'segmentation': [ring, [1, 2, 3, 4, 5, 6.5]], 'keypoints': [8, 9, 2, 0, 0, 0]},
        {'id': 2, **base, 'segmentation': bitmap, 'iscrowd': 1, 'bbox': [7, 5, 20, 15]},
        {'id': 'three', **base, 'image_id': 2, 'area': -4},
        {'id': 4.5, **base, 'bbox': [1, 2, 3]},
        {'id': 5, **base, 'segmentation': {'size': [40, 50], 'counts': 'broken'}, 'image_id': 2},
        {'id': 6, **base, 'bbox': [1e20, 0, 3, 4], 'segmentation': [[1, 2]]},
        {'id': None, **base, 'category_id': 77, 'iscrowd': 'maybe'},
    ]
    images = [
        {'id': 1, 'file_name': 'a.jpg', 'height': 40, 'width': 50},
        {'id': 2, 'file_name': 'ü \ud83d\ude00.jpg', 'height': 40, 'width': 50.0, 'more': [1e300]},
    ]
    categories = [{'id': 3, 'name': 'cat', 'keypoints': ['nose', 'tail'], 'skeleton': [[1, 2]]}]
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps({'images': images, 'annotations': entries, 'categories': categories}))
    return path


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(coco_cache, 'print_log', lambda text, *_: lines.append(text))
    return lines


def assert_same(one, other) -> None:
    """Compare two files, whatever parts their annotations are in."""
    assert (one.images, one.categories, one.rest) == (other.images, other.categories, other.rest)
    (ours, texts), (theirs, other_texts) = joined(one), joined(other)
    assert texts == other_texts
    for name, values in ours.items():
        assert values.dtype == theirs[name].dtype and list(map(type, values.tolist())) == list(
            map(type, theirs[name].tolist())
        )
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


def joined(content) -> tuple[dict[str, np.ndarray], tuple[list[bytes], dict]]:
    starts = np.cumsum([0, *map(len, content.parts)])
    arrays = {}
    for name in Columns.__dataclass_fields__.keys() - {'rle_counts', 'problems'}:
        shift = starts if name.endswith('owners') else [0] * len(starts)
        arrays[name] = np.concatenate(
            [
                getattr(part, name) + add if add else getattr(part, name)
                for part, add in zip(content.parts, shift, strict=False)
            ]
        )
    problems = {
        number + start: problem
        for part, start in zip(content.parts, starts.tolist(), strict=False)
        for number, problem in part.problems.items()
    }
    return arrays, ([text for part in content.parts for text in part.rle_counts], problems)


def test_kept_annotations_are_the_parsed_ones(ann_file, kept):
    parsed = read_in_blocks(str(ann_file), read_columns)
    assert parsed.parts[0].problems and parsed.parts[0].ids.dtype == object and len(parsed.parts[0].rle_counts) == 1
    assert_same(read_annotations(str(ann_file)), parsed)  # keeps them
    (path,) = kept.glob('*.npz')
    before = path.stat()
    assert_same(read_annotations(str(ann_file)), parsed)
    assert path.stat().st_mtime_ns == before.st_mtime_ns and set(kept.iterdir()) == {path, path.with_suffix('.lock')}
    with np.load(path) as arrays:  # which refuses objects
        assert {'crowds', 'points', 'ids_json', 'image_ids'} <= set(arrays)


def test_a_dataset_is_the_same_from_kept_annotations(ann_file, monkeypatch, kept):
    for name in ('a.jpg', 'ü \U0001f600.jpg'):
        write_image(ann_file.parent / 'pictures' / name, 50, 40)

    def read(**options) -> tuple:
        options = dict(data_root=str(ann_file.parent), max_skipped=1.0, keypoints=True, **options)
        dataset = CocoDataset('instances.json', 'pictures', **options)
        records = [dataset.records[i] for i in range(len(dataset))]
        return repr(records), dataset.skipped, dataset.unused, dataset.metainfo

    expected = read(cache_annotations=False)
    assert not kept.exists() and len(expected[1]) >= 3
    assert read() == expected and list(kept.glob('*.npz'))
    monkeypatch.setattr(coco_cache, 'read_in_blocks', None)
    assert read() == expected


def test_another_content_is_parsed_again(ann_file, kept):
    read_annotations(str(ann_file))
    ann_file.write_text(ann_file.read_text().replace('300.5', '200.5'))
    assert read_annotations(str(ann_file)).parts[0].areas[0] == 200.5
    assert len(list(kept.glob('*.npz'))) == 2


def test_a_small_file_is_not_kept(ann_file, kept, monkeypatch):
    monkeypatch.setattr(coco_cache, '_LEAST_BYTES', ann_file.stat().st_size + 1)
    read_annotations(str(ann_file))
    assert not kept.exists()


def rewrite(path: Path, name: str, array: np.ndarray | None, compression: int = zipfile.ZIP_STORED) -> None:
    """Put another array into a kept file; None takes it out."""
    with np.load(path) as arrays:
        values = dict(arrays)
    values.pop(name)
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for key, value in {**values, **({} if array is None else {name: array})}.items():
            with archive.open(f'{key}.npy', 'w') as member:
                np.lib.format.write_array(member, value, allow_pickle=True)


HOSTILE = {
    'objects': ('problems', np.array([print], object)),
    'missing': ('points', None),
    'another type': ('points', np.zeros((5, 2))),
    'another shape': ('bboxes_xywh', np.zeros((7, 3))),
    'too few rows': ('areas', np.zeros(3)),
    'owners beyond': ('ring_owners', np.array([0, 9])),
    'owners in disorder': ('ring_owners', np.array([1, 0])),
    'negative sizes': ('ring_sizes', np.array([-3, 9])),
    'not a number': ('points', np.full((6, 2), np.nan, np.float32)),
    'no truth': ('crowds', np.full(7, 2, np.uint8).view(bool)),
    'a broken bitmap': ('rle_text', None),
    'lengths beyond': ('rle_lengths', np.array([1 << 40])),
    'no json': ('problems', np.frombuffer(b'[[[[', np.uint8)),
    'a problem of none': ('problems', np.frombuffer(b'[[99,"a","b"]]', np.uint8)),
    'deep json': ('ids_json', np.frombuffer(b'[' * 100_000, np.uint8)),
    'other ids': ('ids_json', np.frombuffer(b'[{},1,2,3,4,5,6]', np.uint8)),
    'no rest': ('rest', np.frombuffer(b'{"images": [], "annotations": [1], "categories": []}', np.uint8)),
    'areas': ('areas', np.full(7, -1.0)),
    'keypoint counts': ('keypoint_counts', np.array([7, -1, 0, 0, 0, 0, 0])),
    'boxes': ('bboxes_xywh', np.full((7, 4), np.inf)),
}


@pytest.mark.parametrize('case', [*HOSTILE, 'truncated', 'empty', 'text', 'packed', 'flipped'])
def test_a_damaged_file_is_replaced_with_a_line(ann_file, kept, warnings, case):
    expected = read_annotations(str(ann_file))
    (path,) = kept.glob('*.npz')
    whole = path.read_bytes()
    if case in HOSTILE:
        name, array = HOSTILE[case]
        if case == 'a broken bitmap':
            array = np.frombuffer(b'o' * len(expected.parts[0].rle_counts[0]), np.uint8)
        rewrite(path, name, array)
    elif case == 'packed':
        rewrite(path, 'areas', expected.parts[0].areas, zipfile.ZIP_DEFLATED)
    else:
        flipped = bytearray(whole)
        flipped[whole.index(np.float64(300.5).tobytes())] ^= 1
        path.write_bytes({'truncated': whole[:-900], 'empty': b'', 'text': b'{}', 'flipped': bytes(flipped)}[case])
    assert path.read_bytes() != whole
    assert_same(read_annotations(str(ann_file)), expected)
    (line,) = warnings
    assert str(path) in line and 'damaged' in line
    assert path.read_bytes() == whole


def test_a_damaged_file_that_cannot_be_deleted_costs_a_line(ann_file, kept, warnings, monkeypatch):
    expected = read_annotations(str(ann_file))
    (path,) = kept.glob('*.npz')
    path.write_bytes(b'')

    def unlink(self, missing_ok=False):
        raise PermissionError(13, 'Permission denied', str(self))

    monkeypatch.setattr(type(path), 'unlink', unlink)
    assert_same(read_annotations(str(ann_file)), expected)
    assert len(warnings) == 1 and 'damaged' in warnings[0] and path.read_bytes() == b''


def test_a_folder_that_cannot_be_written_costs_a_line(ann_file, kept, warnings):
    kept.parent.write_text('a file where the folder would be')
    assert _read(str(ann_file)) == 7
    assert 'cannot be kept' in warnings[0] and 'DETKIT_CACHE' in warnings[0]


def _read(ann_file: str) -> int:
    return sum(map(len, read_annotations(ann_file).parts))


def test_processes_share_the_folder(ann_file, kept):
    with get_context('fork').Pool(4) as pool:
        assert pool.map(_read, [str(ann_file)] * 8) == [7] * 8
    (path,) = kept.glob('*.npz')
    assert set(kept.iterdir()) == {path, path.with_suffix('.lock')}
    assert _read(str(ann_file)) == 7
