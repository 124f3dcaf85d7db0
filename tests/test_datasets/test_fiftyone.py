"""FiftyOne's exports and datasets: what is read, what is left out alone, what is refused."""

import base64
import io
import json
import sys
import types
import zlib

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from shape_checks import check_sound, reasons, records_by_name, write_json

from detkit.datasets import FiftyOneDataset
from detkit.utils.errors import ConfigError, DataError

# Rows 1 and 2, columns 1 to 4 of 4 x 6, as FiftyOne 1.22 writes it.
WRITTEN = (
    'eJyb7BfqGxDJyFDGUK2eklqcXKRupaBek2SorqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RomOgpmmjoKtQpkAy4GCGAEAhgJBgAIFRuy'
)


def pack(array):
    file = io.BytesIO()
    np.save(file, array)
    return {'$binary': {'base64': base64.b64encode(zlib.compress(file.getvalue())).decode(), 'subType': '00'}}


def detection(x=0.1, y=0.2, w=0.3, h=0.4, label='nut', **more):
    return {'_cls': 'Detection', 'attributes': {}, 'tags': [], 'label': label, 'bounding_box': [x, y, w, h], **more}


def polyline(points, label='bolt', **more):
    return {'_cls': 'Polyline', 'label': label, 'points': points, 'closed': True, 'filled': True, **more}


def keypoint(points, label='person'):
    return {'_cls': 'Keypoint', 'label': label, 'points': points}


def sample(*entries, kind='Detections', path='data/a.png', **more):
    labels = {'_cls': kind, kind.lower(): list(entries)}
    metadata = {'_cls': 'ImageMetadata', 'width': 20, 'height': 10}
    return {'filepath': path, 'tags': ['train'], 'metadata': metadata, 'ground_truth': labels, **more}


def read(root, *samples, info=None, **options):
    write_image(root / 'data/a.png', 20, 10)
    write_json(root / 'samples.json', {'samples': list(samples)})
    write_json(root / 'metadata.json', info or {})
    dataset = FiftyOneDataset(data_root=str(root), **{'max_skipped': 1, **options})
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


def test_detections_and_masks(tmp_path):
    written = {'$binary': {'base64': WRITTEN, 'subType': '00'}}
    dataset, annotations = read(
        tmp_path, sample(detection(mask=written, iscrowd=True), detection(0.5, 0.5, 0.25, 0.25, 'bolt'))
    )
    assert dataset.metainfo['classes'] == ('bolt', 'nut') and annotations.labels.tolist() == [1, 0]
    np.testing.assert_allclose(annotations.bboxes, [[2, 2, 8, 6], [10, 5, 15, 7.5]], rtol=1e-6)
    assert annotations.ignored.tolist() == [True, False]
    expected = np.zeros((10, 20), np.uint8)
    expected[3:5, 3:7] = 1
    assert (coco_mask.decode(annotations.rles[0]) == expected).all() and annotations.areas[0] == 8
    dataset, annotations = read(tmp_path, sample(detection(mask=pack(np.ones((2, 3), np.uint8)))))
    assert annotations.areas.tolist() == [24]  # a mask fills its box
    assert FiftyOneDataset.peek(dict(data_root=str(tmp_path))) == {'classes': ('nut',)}
    dataset, annotations = read(tmp_path, sample(detection(mask_path='masks/a.png')))
    assert annotations.rles is None and 'mask_path' in dataset.unused[0].reason


def test_polylines_and_keypoints(tmp_path):
    triangle = [[[0.1, 0.1], [0.4, 0.1], [0.1, 0.5]]]
    dataset, annotations = read(
        tmp_path,
        sample(polyline(triangle), polyline(triangle, closed=False, filled=False, label='nut'), kind='Polylines'),
    )
    np.testing.assert_allclose(annotations.bboxes, [[2, 1, 8, 5]], rtol=1e-6)
    assert annotations.areas.tolist() == [12] and reasons(dataset.unused)[0] == 'a polyline that encloses nothing'
    nothing = {'$numberDouble': 'NaN'}
    person = sample(keypoint([[0.1, 0.1], [nothing, nothing], [0.5, 0.6]]), kind='Keypoints')
    info = {'default_skeleton': {'labels': ['left_eye', 'right_eye', 'nose'], 'edges': []}}
    dataset, annotations = read(tmp_path, person, info=info, keypoints=True)
    np.testing.assert_allclose(annotations.keypoints, [[[2, 1, 2], [0, 0, 0], [10, 6, 2]]], rtol=1e-6)
    assert dataset.metainfo['flip_pairs'] == ((0, 1),)
    cfg = dict(data_root=str(tmp_path), keypoints=True)
    assert FiftyOneDataset.peek(cfg) == {'classes': ('person',), 'keypoint_shape': (3, 3)}
    dataset, _ = read(tmp_path, person, keypoints=True)
    assert dataset.metainfo['keypoint_names'] == ('0', '1', '2')


@pytest.mark.parametrize(
    ('entry', 'reason'),
    [
        (detection(label=None), 'without a label'),
        (detection(w=None), 'the coordinate None'),
        (detection(w=0), 'no area inside the image'),
        ({**detection(), 'bounding_box': [1]}, 'no list of 4 numbers'),
        (detection(mask='AAAA'), 'a mask that cannot be read'),
        (detection(mask=pack(np.ones(3))), 'an array of the shape (3,)'),
        (detection(mask=pack(np.array([[{}]], object))), 'a mask that cannot be read'),
        (detection(mask=pack(np.zeros((2, 2)))), 'without a pixel'),
        (detection(w=9, mask=pack(np.ones((2, 2)))), 'larger than the image'),
        (polyline(None), 'a polyline without points'),
        (polyline([[[1, 1]]]), '1 points, where 3'),
        (keypoint([]), 'without points'),
        (5, 'without a label'),
    ],
)
def test_an_object_that_breaks_a_rule_is_left_out_alone(tmp_path, entry, reason):
    dataset, annotations = read(tmp_path, sample(entry, detection(label='bolt')))
    assert len(annotations) == 1
    (skip,) = dataset.skipped
    assert reason in skip.reason and skip.where == 'sample 1, object 1'


def test_fields_tags_and_samples(tmp_path):
    write_image(tmp_path / 'data/b.png', 20, 10)
    samples = [
        sample(detection(), boxes={'_cls': 'Detection', **detection()}, weather={'_cls': 'Classification'}),
        sample(detection(), path='/other/machine/data/b.png', tags=['val'], ground_truth=None),
        sample(path='data/gone.png'),
        {'tags': []},
    ]
    dataset, _ = read(tmp_path, *samples)
    assert sorted(records_by_name(dataset)) == ['a.png', 'b.png'] and len(dataset.records[1].annotations) == 0
    assert len(dataset.skipped) == 2
    dataset, annotations = read(tmp_path, *samples, label_field='boxes', tag='train')
    assert list(records_by_name(dataset)) == ['a.png'] and len(annotations) == 1
    for options, reason in (
        (dict(label_field='ground_truht'), "fields with objects are .*. Set label_field.* Did you mean 'ground_truth'"),
        (dict(label_field='weather'), "'weather' .it holds Classification."),
        (dict(tag='test'), "has the tag 'test'"),
    ):
        with pytest.raises(DataError, match=reason):
            read(tmp_path, *samples, **options)


def test_what_is_no_such_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match='Set data_root to a folder exported'):
        FiftyOneDataset.peek(dict(data_root=str(tmp_path)))
    for content in ([], {'samples': {}}):
        write_json(tmp_path / 'samples.json', content)
        with pytest.raises(DataError, match="no list 'samples'"):
            FiftyOneDataset(data_root=str(tmp_path))


class StandIn(types.ModuleType):
    """The calls of the module that a dataset's name needs."""

    def __init__(self, samples):
        super().__init__('fiftyone')
        skeleton = types.SimpleNamespace(labels=['nose', 'eye'])
        own = [types.SimpleNamespace(to_dict=lambda own=own: own) for own in samples]
        self._dataset = type('Dataset', (list,), {'default_skeleton': skeleton, 'skeletons': {}})(own)

    def list_datasets(self):
        return ['mine']

    def load_dataset(self, name):
        assert name == 'mine'
        return self._dataset


def test_a_dataset_by_name(tmp_path, monkeypatch):
    write_image(tmp_path / 'a.png', 20, 10)
    person = sample(keypoint([[0.1, 0.1], [0.5, 0.6]]), kind='Keypoints', path=str(tmp_path / 'a.png'))
    monkeypatch.setitem(sys.modules, 'fiftyone', StandIn([person]))
    dataset = FiftyOneDataset('mine', keypoints=True)
    assert dataset.metainfo['keypoint_names'] == ('nose', 'eye') and len(dataset.records[0].annotations) == 1
    assert FiftyOneDataset.peek(dict(name='mine')) == {'classes': ('person',)}
    with pytest.raises(DataError, match="FiftyOne has no dataset 'mien', but mine. Did you mean 'mine'"):
        FiftyOneDataset('mien')
    monkeypatch.setitem(sys.modules, 'fiftyone', None)
    with pytest.raises(ConfigError, match=r"needs the package fiftyone .*pip install 'detkit\[fiftyone\]'"):
        FiftyOneDataset('mine')


share = st.floats(-0.1, 1.1)
masks = st.sampled_from([{'$binary': {'base64': WRITTEN, 'subType': '00'}}, {'$binary': 'AAAA'}, WRITTEN, 'é', 5])
rings = st.lists(st.lists(st.tuples(share, share).map(list), max_size=5), max_size=2)
whole = st.builds(detection, share, share, st.floats(0.1, 0.5), st.floats(0.1, 0.5))
entries = st.one_of(
    whole,
    st.builds(detection, share, share, share, share, mask=masks),
    st.builds(polyline, rings, closed=st.booleans()),
    st.builds(keypoint, st.lists(st.tuples(share, share | st.just(float('nan'))).map(list), max_size=3)),
)
objects = st.lists(entries | whole | entries.flatmap(replaced) | values, max_size=5)
samples = objects.map(lambda own: sample(*own))
files = st.lists(samples | samples.flatmap(replaced) | values, min_size=1, max_size=2).map(
    lambda own: json.dumps({'samples': own}).encode('utf-8', 'replace')
)


@pytest.mark.thorough
@pytest.mark.filterwarnings('error', 'ignore:__array__ implementation:DeprecationWarning')  # the latter of pycocotools
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write_image(tmp_path / 'data/a.png', 20, 10)
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, bool, bool, object]) -> None:
        data, rotated, keypoints, info = case
        (tmp_path / 'samples.json').write_bytes(data)
        write_json(tmp_path / 'metadata.json', {'default_skeleton': info, 'skeletons': info})
        dataset = FiftyOneDataset(data_root=str(tmp_path), max_skipped=1, rotated=rotated, keypoints=keypoints)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    skeletons = st.just({'labels': ['a', 'b']}) | values
    run_fuzz(cases, st.tuples(files | damaged(files), st.booleans(), st.booleans(), skeletons), check)
    assert min(seen.values()) > cases // 10
