"""COCO files with anything in any place: success, a recorded skip, or an error of detkit's own."""

import copy
import json
import random
from collections import Counter

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import ended_cases
from tiny_panoptic import write_tiny_panoptic

from detkit.datasets import CocoDataset, CocoPanopticDataset
from detkit.utils.errors import DetkitError

OUTLINED = {
    'category_id': 1,
    'bbox': [2, 1, 4, 5],
    'area': 20.5,
    'iscrowd': 0,
    'segmentation': [[2, 1, 6, 1, 6, 6.5], [1, 1, 2, 2, 3, 1]],
    'keypoints': [1, 2, 2, 3, 4, 1],
}
CROWD = {'id': 9, 'image_id': 2, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'iscrowd': 1, 'keypoints': [0] * 6}
INSTANCES = {
    'info': {},
    'images': [{'id': i, 'file_name': f'{i}.png', 'height': 10, 'width': 20} for i in range(1, 4)],
    'annotations': [
        *({'id': i, 'image_id': i, **OUTLINED} for i in range(1, 4)),
        {**CROWD, 'segmentation': {'size': [10, 20], 'counts': [0, 20, 180]}},
    ],
    'categories': [
        {'id': 1, 'name': 'bolt', 'keypoints': ['a', 'b'], 'skeleton': [[1, 2]]},
        {'id': 2, 'name': 'nut'},
    ],
}
ODD = [
    *(None, True, False, 0, -1, 1, 2, 1.5, 1e308, 10**400, -(10**30), 1 << 63, 1 << 64, float('nan'), float('inf')),
    *('', '1', 'a', '\0', '\ud800', '../x', '/', 'a' * 5000, '1.png', 'é', '2020-01-01'),
    *([], {}, [[]], [[[1]]], [1, 2, 3, 4], [None], {'a': 1}, [[1, 2, 3, 4, 5, 6]], [1] * 7),
    *({'size': [10, 20], 'counts': 'UW3j'}, {'size': [10, 20], 'counts': [200]}),
]


def places_of(value, path=()):
    """Yield the path of every value inside of another."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places_of(inner, (*path, key))


def spoil(content, rng):
    """Return the text of a file with some values exchanged, removed or added, and sometimes some bytes."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        *path, key = rng.choice(list(places_of(content)))
        owner = content
        for step in path:
            owner = owner[step]
        kind = rng.random()
        if kind < 0.75:
            owner[key] = copy.deepcopy(rng.choice(ODD))
        elif kind < 0.85:
            del owner[key]
        elif isinstance(owner, list):
            owner.insert(key, copy.deepcopy(rng.choice(owner)))
        else:
            owner[rng.choice(['id', 'x', 'bbox', 'counts'])] = copy.deepcopy(rng.choice(ODD))
    text = bytearray(json.dumps(content).encode())
    for _ in range(rng.choice([0, 0, 0, 0, 1, 3])):
        place = rng.randrange(len(text))
        text[place : place + rng.randrange(9)] = rng.choice([b'', rng.randbytes(1)])
    return bytes(text)


def check(dataset):
    for record in dataset.records:
        own = record.annotations
        assert min(record.ori_shape) > 0 and np.isfinite(own.bboxes).all() and np.isfinite(own.areas).all()
        assert ((own.labels >= 0) & (own.labels < len(dataset.metainfo['classes']))).all()
        assert own.polygons is None or np.isfinite(own.polygons.points).all()
        assert own.keypoints is None or np.isfinite(own.keypoints).all()


@pytest.mark.thorough
@pytest.mark.parametrize('start, stop', [(0, 400), pytest.param(400, 6000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings('error')
def test_instances(tmp_path, start, stop):
    for i in range(1, 4):
        write_image(tmp_path / f'{i}.png', 20, 10)
    found = Counter()
    for seed in range(start, stop):
        rng = random.Random(seed)
        (tmp_path / 'a.json').write_bytes(spoil(INSTANCES, rng))
        names = ('keypoints', 'single_class', 'keep_category_ids', 'only_labelled', 'test_mode')
        options = {name: rng.random() < 0.3 for name in names}
        try:
            CocoDataset.peek(dict(ann_file='a.json', data_root=str(tmp_path), keypoints=options['keypoints']))
            dataset = CocoDataset('a.json', data_root=str(tmp_path), max_skipped=1.0, **options)
        except DetkitError:
            found['error'] += 1
            continue
        check(dataset)
        found['skip' if dataset.skipped else 'success'] += 1
    ended_cases.update(found)
    assert min(found[end] for end in ('error', 'skip', 'success')) > (stop - start) // 50, found


@pytest.mark.parametrize('start, stop', [(0, 300), pytest.param(300, 6000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings('error')
def test_panoptic(tmp_path, start, stop):
    write_tiny_panoptic(tmp_path)
    path = tmp_path / 'annotations' / 'panoptic_val2017.json'
    content = json.loads(path.read_text())
    found = Counter()
    for seed in range(start, stop):
        rng = random.Random(seed)
        path.write_bytes(spoil(content, rng))
        known = dict(ann_file='annotations/panoptic_val2017.json', img_prefix='val2017', data_root=str(tmp_path))
        try:
            CocoPanopticDataset.peek(known)
            dataset = CocoPanopticDataset(max_skipped=1.0, keep_category_ids=rng.random() < 0.3, **known)
        except DetkitError:
            found['error'] += 1
            continue
        check(dataset)
        found['skip' if dataset.skipped else 'success'] += 1
    ended_cases.update(found)
    assert min(found[end] for end in ('error', 'skip', 'success')) > (stop - start) // 50, found
