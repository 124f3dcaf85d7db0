"""COCO files that can be read in two ways, or whose names no text can hold."""

import gzip
import json

import pytest
from format_helpers import write_image

from detkit.datasets import CocoDataset
from detkit.datasets.formats import coco_json
from detkit.utils.errors import DataError


def content_of(**changes):
    return {
        'images': [{'id': i, 'file_name': f'{i}.png', 'height': 10, 'width': 20} for i in (1, 2)],
        'annotations': [{'id': i, 'image_id': i, 'category_id': i, 'bbox': [2, 1, 4, 5]} for i in (1, 2)],
        'categories': [{'id': 1, 'name': 'bolt'}, {'id': 2, 'name': 'nut'}],
        **changes,
    }


@pytest.fixture
def load(tmp_path):
    for i in (1, 2):
        write_image(tmp_path / 'img' / f'{i}.png', 20, 10)

    def _load(content, **options):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (tmp_path / 'a.json').write_bytes(data)
        return CocoDataset('a.json', 'img', data_root=str(tmp_path), **options)

    return _load


def counts(dataset):
    return [len(record.annotations) for record in dataset.records]


def test_two_categories_of_one_id_are_refused(load):
    categories = [{'id': 1, 'name': 'bolt'}, {'id': 1, 'name': 'nut'}]
    with pytest.raises(DataError, match=r"a\.json' gives the category id 1 to 'bolt' and 'nut'"):
        load(content_of(categories=categories))
    with pytest.raises(DataError, match='gives the category id 1'):
        coco_json.check_categories([{'id': 1.0, 'name': 'bolt'}, *categories[1:]], 'a.json')


@pytest.mark.parametrize('key', ['images', 'annotations', 'categories'])
@pytest.mark.parametrize('last', ['[]', 'null', '[{"id": 1, "name": "x"}]'])
@pytest.mark.parametrize('first', [True, False])
def test_a_list_that_is_given_twice_is_refused(load, key, last, first):
    text = json.dumps(content_of())
    doubled = f'{{"{key}": {last if first else "[5]"}, {text[1:]}' if first else f'{text[:-1]}, "{key}": {last}}}'
    if first and last in ('[]', 'null'):  # nothing is lost
        assert counts(load(doubled.encode())) == [1, 1]
    else:
        with pytest.raises(DataError, match=f"a.json' has the key '{key}' twice"):
            load(doubled.encode())


def test_names_are_compared_without_blanks_around_them(load):
    with pytest.raises(DataError, match=r"a\.json' has objects of the categories 1 and 2, both of the name 'bolt'"):
        load(content_of(categories=[{'id': 1, 'name': 'bolt'}, {'id': 2, 'name': ' bolt '}]))


@pytest.mark.parametrize('changes', [{'name': '\ud800'}, {'keypoints': ['left', '\udfff']}])
def test_half_a_surrogate_pair_is_no_name(load, changes):
    with pytest.raises(DataError, match=r"category 1 .*a\.json' has the name '\\ud"):
        load(content_of(categories=[{'id': 1, 'name': 'bolt'}, {'id': 2, 'name': 'nut', **changes}]))


def test_half_a_surrogate_pair_in_a_file_name_or_id_costs_the_image(load):
    content = content_of()
    content['images'] += [{'id': 3, 'file_name': '\ud800.png'}, {'id': '\ud800', 'file_name': '2.png'}]
    content['annotations'].append({'id': '\udfff', 'image_id': '\ud800', 'category_id': 1, 'bbox': [1, 1, 2, 2]})
    dataset = load(content, max_skipped=1)
    assert counts(dataset) == [1, 1] and len(dataset.skipped) == 3
    for skip in dataset.skipped:
        f'{skip.location()}{skip.reason}{skip.kind}'.encode()


def test_packed_and_unmarked_files_are_named(load):
    text = json.dumps(content_of())
    with pytest.raises(DataError, match=r"a\.json' is a gzip file; unpack it"):
        load(gzip.compress(text.encode()))
    for encoding in ('utf-16-le', 'utf-16-be'):
        with pytest.raises(DataError, match='looks like UTF-16 without its byte-order mark: save it as UTF-8'):
            load(text.encode(encoding))


@pytest.mark.parametrize('spelling', ['./1.png', '../img/1.png', './/1.png'])
def test_an_image_of_two_spellings_is_one(load, spelling):
    content = content_of()
    content['images'][1]['file_name'] = spelling
    dataset = load(content)
    assert counts(dataset) == [2] and [skip.where for skip in dataset.unused] == ['image 2']


@pytest.mark.parametrize('area', [0, -1, '400', float('nan'), 'large', [], 10**400])
def test_an_area_that_is_none_is_measured(load, area):
    content = content_of()
    content['annotations'][0] |= {'area': area, 'segmentation': [[2, 1, 6, 1, 6, 6]]}
    dataset = load(content)
    assert dataset.records[0].annotations.areas.tolist() == [10] and not dataset.skipped
    assert ['area' in skip.reason for skip in dataset.unused] == [True]


@pytest.mark.parametrize(
    ('value', 'crowd'),
    [(1, True), ('yes', True), (True, True), (1.0, True), (None, False), ('0', False), (False, False), (0.0, False)]
    + [(value, None) for value in (-1, 0.3, [1], 'maybe', {}, float('nan'), -(10**30))],
)
def test_flags_of_crowds(load, value, crowd):
    content = content_of()
    content['annotations'][0]['iscrowd'] = value
    dataset = load(content)
    if crowd is None:
        assert [skip.kind for skip in dataset.skipped] == ['an iscrowd that is neither 0 nor 1']
    else:
        assert dataset.records[0].annotations.ignored.tolist() == [crowd] and not dataset.skipped


@pytest.mark.parametrize('value', [1, True, 'yes'])
def test_objects_to_ignore_are_crowds(load, value):
    content = content_of()
    content['annotations'][0] |= {'ignore': value, 'iscrowd': 0}
    content['annotations'][1] |= {'ignore': 0, 'iscrowd': 1}
    dataset = load(content)
    flags = [flag for record in dataset.records for flag in record.annotations.ignored.tolist()]
    assert flags == [True, True] + [False] * (len(flags) - 2)
    assert [skip.where for skip in dataset.unused if skip.reason.startswith('ignore=1')] == ['annotation 1 of image 1']
    content['annotations'][0]['ignore'] = 'maybe'
    assert [skip.kind for skip in load(content).skipped] == ['an ignore that is neither 0 nor 1']


def test_boxes_that_look_normalised_are_named(load):
    content = content_of()
    for entry in content['annotations']:
        entry['bbox'] = [0.2, 0.1, 0.4, 0.9]
    with pytest.raises(
        DataError, match=r'2 of 4 .*\n.*bbox \[0.2, 0.1, 0.4, 0.9\] has no number above 1.5.*look normalised'
    ):
        load(content)
    content['annotations'].append({'id': 3, 'image_id': 1, 'category_id': 1, 'bbox': [2, 1, 4, 5]})
    dataset = load(content)  # where others are pixels, these are small boxes
    assert counts(dataset) == [2, 1] and not dataset.skipped
    content['annotations'] = content['annotations'][:1]
    assert [skip.count for skip in load(content).skipped] == [1]
