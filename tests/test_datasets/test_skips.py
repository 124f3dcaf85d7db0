"""Entries that a dataset leaves out: how they are listed and counted."""

import json

import pytest
from format_helpers import write_image

from detkit.datasets import CocoDataset, YoloTxtDataset
from detkit.datasets.skips import MOST_LISTED, Skip, check_skips, list_skips, skip_lines
from detkit.utils.errors import DataError


@pytest.mark.parametrize('count', [0, 1, MOST_LISTED, MOST_LISTED + 1])
def test_a_few_entries_are_listed_and_many_counted(count):
    skips = list_skips(range(count), lambda i: (f'{i}.txt', i + 1), 'odd')
    assert len(skips) == (count if count <= MOST_LISTED else 1)
    assert sum(skip.count for skip in skips) == count
    assert list(skip_lines(skips)) == ([f'{count} × odd, such as 0.txt:1'] if count else [])


def test_halves_of_surrogate_pairs_are_written_out():
    skip = Skip('a\udc80.txt', 'object \ud800', 'a class \ud800')
    lines = [*skip_lines([skip]), skip.location()]
    with pytest.raises(DataError) as error:
        check_skips([skip, skip], 2, 0.0, 'data')
    for text in (*lines, str(error.value)):
        assert r'a\udc80.txt' in text and text.encode()


@pytest.mark.parametrize('count', [3, MOST_LISTED + 3])
def test_images_without_a_label_file_and_keypoints_are_listed(tmp_path, count):
    for i in range(count):
        write_image(tmp_path / 'images' / f'{i:03d}.png', 4, 4)
        label = tmp_path / 'labels' / f'{i:03d}.txt'
        label.parent.mkdir(exist_ok=True)
        label.write_text('0 .5 .5 .5 .5 .4 .4 2 .6 .6 1\n')
    write_image(tmp_path / 'images' / 'none.png', 4, 4)
    dataset = YoloTxtDataset(
        data_root=str(tmp_path), images='images', metainfo={'classes': ['bolt']}, keypoint_shape=(2, 3)
    )
    kinds = {}
    for skip in dataset.unused:
        kinds.setdefault(skip.reason.split()[0], []).append(skip)
    assert [skip.path for skip in kinds['a']] == [str(tmp_path / 'images' / 'none.png')]
    keypoints = kinds['keypoints']
    assert sum(skip.count for skip in keypoints) == count
    if count <= MOST_LISTED:
        assert [skip.path[-7:] for skip in keypoints] == [f'{i:03d}.txt' for i in range(count)]
    else:
        assert len(keypoints) == 1


def test_objects_without_labelled_keypoints_are_listed_by_their_image(tmp_path):
    write_image(tmp_path / 'a.png', 20, 10)
    write_image(tmp_path / 'b.png', 20, 10)
    content = {
        'images': [{'id': i, 'file_name': f'{name}.png'} for i, name in ((1, 'a'), (2, 'b'))],
        'annotations': [
            {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [2, 1, 4, 5], 'keypoints': [3, 3, 2]},
            {'id': 2, 'image_id': 1, 'category_id': 1, 'bbox': [9, 1, 4, 5], 'keypoints': [0, 0, 0]},
            {'id': 3, 'image_id': 2, 'category_id': 1, 'bbox': [2, 1, 4, 5], 'keypoints': [0, 0, 0]},
        ],
        'categories': [{'id': 1, 'name': 'bolt', 'keypoints': ['head']}],
    }
    (tmp_path / 'a.json').write_text(json.dumps(content))
    options = dict(data_root=str(tmp_path), keypoints=True, metainfo={'flip_pairs': ()})
    places = {skip.where for skip in CocoDataset('a.json', **options).unused}
    assert places == {'an annotation of image 1', 'an annotation of image 2'}
    narrow = CocoDataset('a.json', only_labelled=True, **options)
    assert [skip.path for skip in narrow.unused if 'only_labelled' in skip.reason] == [str(tmp_path / 'b.png')]
    assert {skip.where for skip in narrow.unused if skip.where} == places


@pytest.mark.parametrize(
    'metainfo', [{'classes': ['\ud800']}, {'classes': ['bolt'], 'keypoint_names': ['a', '\udc80']}]
)
def test_half_a_surrogate_pair_is_no_name_in_any_format(tmp_path, metainfo):
    write_image(tmp_path / 'images' / 'a.png', 4, 4)
    (tmp_path / 'labels').mkdir()
    with pytest.raises(DataError, match=r"YoloTxtDataset at .* of the name '\\ud"):
        YoloTxtDataset(data_root=str(tmp_path), images='images', metainfo=metainfo)
