"""LVIS's files: what differs from COCO's."""

import json

import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st
from shape_checks import check_sound, write_json

from detkit.datasets import LvisDataset
from detkit.utils.errors import ConfigError, DataError

CATEGORIES = [
    {'id': 2, 'name': 'nut', 'synset': 'nut.n.01', 'frequency': 'r', 'image_count': 1, 'def': 'x'},
    {'id': 1, 'name': 'bolt', 'synset': 'bolt.n.01', 'frequency': 'f', 'image_count': 9, 'def': 'x'},
    {'id': 3, 'name': 'washer', 'frequency': 5},
]
URL = 'http://images.cocodataset.org/train2017/000000000007.png'


def image(**more):
    own = {'id': 7, 'width': 20, 'height': 10, 'coco_url': URL, 'license': 1, 'date_captured': '2013-11-14'}
    return {**own, 'neg_category_ids': [3], 'not_exhaustive_category_ids': [], **more}


def annotation(**more):
    return {
        'id': 5,
        'image_id': 7,
        'category_id': 2,
        'bbox': [2.0, 1.0, 6.0, 4.0],
        'area': 12.0,
        'segmentation': [[2.0, 1.0, 8.0, 1.0, 2.0, 5.0]],
        **more,
    }


def content(images, annotations):
    return {'info': {}, 'licenses': [], 'images': images, 'annotations': annotations, 'categories': CATEGORIES}


def read(root, *images, **options):
    write_json(root / 'lvis.json', content(list(images), [annotation(), annotation(id=6, category_id=1)]))
    return LvisDataset('lvis.json', data_root=str(root), **options)


def test_images_are_named_by_their_url(tmp_path):
    write_image(tmp_path / 'train2017/000000000007.png', 20, 10)
    for entry in (image(), image(file_name='other.png'), image(coco_url=URL.replace('train', 'Train'))):
        dataset = read(tmp_path, entry)
        assert dataset.records[0].img_path.endswith('train2017/000000000007.png') and dataset.records[0].img_id == 7
        assert not dataset.skipped and dataset.records[0].annotations.labels.tolist() == [1, 0]
    write_image(tmp_path / 'COCO_val2014_7.png', 20, 10)  # as version 0.5 names them
    dataset = read(tmp_path, image(coco_url=None, file_name='COCO_val2014_7.png'))
    assert dataset.records[0].img_path.endswith('COCO_val2014_7.png')
    dataset = read(tmp_path / 'train2017/..', image(), img_prefix='train2017')
    assert len(dataset) == 1


def test_frequencies_are_kept(tmp_path):
    write_image(tmp_path / 'train2017/000000000007.png', 20, 10)
    dataset = read(tmp_path, image())
    assert dataset.metainfo['classes'] == ('bolt', 'nut', 'washer')
    assert dataset.metainfo['frequencies'] == ('f', 'r', None)
    dataset = read(tmp_path, image(), metainfo=dict(classes=('nut', 'bolt')))
    assert dataset.metainfo['frequencies'] == ('r', 'f')
    dataset = read(tmp_path, image(), keep_category_ids=True)
    assert dataset.metainfo['frequencies'] == (None, 'f', 'r', None)
    assert 'frequencies' not in read(tmp_path, image(), single_class=True).metainfo
    cfg = dict(data_root=str(tmp_path), ann_file='lvis.json')
    assert LvisDataset.peek(cfg) == {'classes': ('bolt', 'nut', 'washer'), 'category_ids': (1, 2, 3)}


def test_what_cannot_be_used(tmp_path):
    write_image(tmp_path / 'train2017/000000000007.png', 20, 10)
    for entry in (image(id=8, coco_url='http://[x/a.png'), image(id=8, coco_url='http://x')):
        dataset = read(tmp_path, image(), entry)
        assert len(dataset) == 1 and len(dataset.skipped) == 1
    with pytest.raises(ConfigError, match="no argument 'keypoints'"):
        read(tmp_path, image(), keypoints=True)
    with pytest.raises(DataError, match='there is no ann_file'):
        LvisDataset.peek(dict(data_root=str(tmp_path), ann_file='no.json'))


def test_deep_nesting_beside_the_annotations_is_refused(tmp_path):
    text = json.dumps(content([image(license='here')], [annotation()]))
    (tmp_path / 'lvis.json').write_text(text.replace('"here"', '[' * 100_000 + ']' * 100_000))
    with pytest.raises(DataError, match='lvis.json.* is no valid JSON: it is nested too deeply'):
        LvisDataset('lvis.json', data_root=str(tmp_path))


urls = st.sampled_from([URL, URL, 'http://[', 'x', '', 7, None, '/', '//', 'http://a/%00.png'])
images = st.builds(image, coco_url=urls, id=st.sampled_from([7, 8, '7', 7.0]), neg_category_ids=values)
annotations = st.builds(annotation, category_id=st.sampled_from([1, 2, 9, None]))
files = st.builds(
    content,
    st.lists(images | images.flatmap(replaced) | values, max_size=3).map(lambda own: [image(), *own]),
    st.lists(annotations | annotations.flatmap(replaced), max_size=3),
).map(lambda own: json.dumps(own).encode('utf-8', 'replace'))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write_image(tmp_path / 'train2017/000000000007.png', 20, 10)
    seen = {'kept': 0, 'skipped': 0}

    def check(data: bytes) -> None:
        (tmp_path / 'lvis.json').write_bytes(data)
        dataset = LvisDataset('lvis.json', data_root=str(tmp_path), max_skipped=1)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    run_fuzz(cases, files | damaged(files), check)
    assert min(seen.values()) > cases // 10
