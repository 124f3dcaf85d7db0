"""Round trips of real datasets: COCO, or YOLO's rotated boxes, to each format and back to COCO."""

import json
from pathlib import Path

import numpy as np
import pytest
from writer_helpers import assert_same, by_stem, kinds, named, read_back, rings_of

from detkit.datasets import CocoDataset, DotaDataset, VOCDataset, YoloTxtDataset
from detkit.datasets.class_names import COCO_CATEGORY_IDS, DOTA15
from detkit.datasets.writers import convert_dataset
from detkit.structures.polygons import Polygons

pytestmark = pytest.mark.realdata
STRICT = dict(test_mode=True, max_skipped=0.0)
SETS = {
    'coco128': ('annotations/instances_train2017.json', 'train2017', False),
    'coco-pose-mini': ('annotations/instances_val2017.json', 'val2017', False),
    'persons': ('annotations/person_keypoints_train2017.json', 'train2017', True),
}


@pytest.fixture(scope='module', params=SETS)
def coco(request, real_data):
    ann_file, images, keypoints = SETS[request.param]
    root = real_data / ('coco-pose-mini' if request.param == 'persons' else request.param)
    if not root.is_dir():
        pytest.skip(f'no {root.name}')
    return CocoDataset(ann_file, images, keypoints=keypoints, data_root=str(root), **STRICT)


def original(dataset: CocoDataset) -> dict:
    return json.loads((Path(dataset.data_root) / dataset.ann_file).read_text())


def through_coco(dataset, folder: Path, **kwargs) -> CocoDataset:
    assert convert_dataset({'train': dataset}, folder, 'coco').lost == []
    return read_back(folder, **kwargs)


def test_to_coco(coco, tmp_path):
    back = through_coco(coco, tmp_path / 'coco', keypoints=coco.keypoints)
    assert back.metainfo == coco.metainfo and back.skipped == back.unused == []
    assert_same(coco, back, 'bboxes', 'ignored', 'areas', 'rings', 'rles', *['keypoints'] * coco.keypoints)
    # The json itself against the one that it is made of, object by object.
    before, after = original(coco), original(back)
    names = {image['id']: image['file_name'] for image in before['images']}
    assert {image['id']: image['file_name'] for image in after['images']} == names
    keys = ('image_id', 'category_id', 'iscrowd')
    first, second = (
        {(*map(entry.get, keys), *entry['bbox']) for entry in content['annotations']} for content in (before, after)
    )
    assert first == second
    assert len(after['annotations']) == len(before['annotations']) - len(coco.unused)


@pytest.mark.default_cases(1)
def test_to_yolo_outlines_and_back(coco, tmp_path):
    done = convert_dataset({'train': coco}, tmp_path / 'yolo', 'yolo', labels='outline')
    crowds = sum(int(own.ignored.sum()) for own in by_stem(coco).values())
    no_flag = kinds(done.lost).get('an object that is not to be learnt (crowd, difficult): there is no flag', 0)
    repeated = kinds(done.lost).get("an object whose line is the same as another one's", 0)
    assert no_flag == crowds
    yolo = YoloTxtDataset(data_root=str(tmp_path / 'yolo'), data_yaml='data.yaml', **STRICT)
    assert yolo.skipped == yolo.unused == []
    assert repeated == 0
    back = through_coco(yolo, tmp_path / 'coco')
    assert back.metainfo['classes'] == coco.metainfo['classes']
    for stem, own in by_stem(coco).items():
        kept, found = own.select(~own.ignored), by_stem(back)[stem]
        assert named(coco, kept) == named(back, found)
        for i, (before, after) in enumerate(zip(rings_of(kept), rings_of(found), strict=True)):
            if len(before) == 1:
                assert before[0].tolist() == after[0].tolist(), stem
            area = sum(Polygons(ring, np.array([len(ring)]), np.zeros(1, int)).areas(1)[0] for ring in before)
            assert len(after) == 1 and found.areas[i] == pytest.approx(area, rel=1e-5)
        # The box is the outline's, which COCO rounds by itself.
        assert np.abs(kept.bboxes - found.bboxes).max(initial=0) < 1


@pytest.mark.default_cases(1)
def test_to_yolo_boxes_and_back(coco, tmp_path):
    done = convert_dataset({'train': coco}, tmp_path / 'yolo', 'yolo', labels='box')
    assert kinds(done.lost).get('an object without an area inside the image', 0) == 0
    repeated = kinds(done.lost).get("an object whose line is the same as another one's", 0)
    yolo = YoloTxtDataset(data_root=str(tmp_path / 'yolo'), data_yaml='data.yaml', **STRICT)
    assert yolo.skipped == yolo.unused == []
    back = through_coco(yolo, tmp_path / 'coco')
    count = 0
    shapes = {Path(record.img_path).stem: record.ori_shape for record in coco.records}
    for stem, own in by_stem(coco).items():
        height, width = shapes[stem]
        kept, found = own.select(~own.ignored), by_stem(back)[stem]
        inside = kept.bboxes.clip(0, [width, height] * 2)
        rows = list(dict.fromkeys((label, *map(float, box)) for label, box in zip(kept.labels, inside, strict=True)))
        assert rows == [(label, *map(float, box)) for label, box in zip(found.labels, found.bboxes, strict=True)]
        count += len(found)
    assert count + repeated == sum(int((~own.ignored).sum()) for own in by_stem(coco).values())


def test_to_yolo_pose_and_back(coco, tmp_path):
    if not coco.keypoints:
        pytest.skip('no keypoints')
    convert_dataset({'train': coco}, tmp_path / 'yolo', 'yolo')
    yolo = YoloTxtDataset(data_root=str(tmp_path / 'yolo'), data_yaml='data.yaml', labels='pose', **STRICT)
    back = through_coco(yolo, tmp_path / 'coco', keypoints=True)
    for key in ('keypoint_names', 'flip_pairs', 'skeleton', 'sigmas', 'classes'):
        assert back.metainfo[key] == coco.metainfo[key]
    for stem, own in by_stem(coco).items():
        kept, found = own.select(~own.ignored), by_stem(back)[stem]
        np.testing.assert_array_equal(kept.keypoints, found.keypoints)
        np.testing.assert_allclose(kept.bboxes, found.bboxes, atol=0.02)  # COCO's reach out of the image by that much


@pytest.mark.default_cases(1)
def test_to_voc_and_back(coco, tmp_path):
    done = convert_dataset({'train': coco}, tmp_path / 'voc', 'voc')
    assert kinds(done.lost)['an outline'] == sum(len(own) for own in by_stem(coco).values())
    classes = {'classes': coco.metainfo['classes']}
    voc = VOCDataset('train', data_root=str(tmp_path / 'voc'), metainfo=classes, **STRICT)
    assert voc.skipped == voc.unused == []
    back = through_coco(voc, tmp_path / 'coco')
    shapes = {Path(record.img_path).stem: record.ori_shape for record in coco.records}
    for stem, own in by_stem(coco).items():
        found = by_stem(back)[stem]
        assert named(coco, own) == named(back, found)
        np.testing.assert_array_equal(own.bboxes.clip(0, [*shapes[stem][::-1]] * 2), found.bboxes)
        np.testing.assert_array_equal(own.ignored, found.ignored)


@pytest.mark.default_cases(1)
def test_to_dota_and_back(coco, tmp_path):
    convert_dataset({'train': coco}, tmp_path / 'dota', 'dota')
    classes = (tmp_path / 'dota/classes.txt').read_text().splitlines()
    args = dict(images='train/images', labels='train/labelTxt', data_root=str(tmp_path / 'dota'))
    dota = DotaDataset(**args, metainfo={'classes': classes}, **STRICT)
    assert dota.skipped == dota.unused == []
    back = through_coco(dota, tmp_path / 'coco')
    for stem, own in by_stem(coco).items():
        found = by_stem(back)[stem]
        assert [name.replace(' ', '-') for name in named(coco, own)] == named(back, found)
        np.testing.assert_array_equal(own.ignored, found.ignored)
        # The rectangle of least area around an outline touches it on all sides.
        for i, rings in enumerate(rings_of(own)):
            (corners,) = rings_of(found)[i]
            if rings:
                points = np.concatenate(rings).astype(np.float64)
                along = (corners[1] - corners[0]) / np.linalg.norm(corners[1] - corners[0])
                for axis in (along, along[::-1] * [-1, 1]):
                    np.testing.assert_allclose((points @ axis).min(), (corners @ axis).min(), atol=2e-2)
                    np.testing.assert_allclose((points @ axis).max(), (corners @ axis).max(), atol=2e-2)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_rotated_boxes(real_data, tmp_path, split):
    root = real_data / 'dota8'
    if not root.is_dir():
        pytest.skip('no dota8')
    args = dict(images=f'images/{split}', labels='obb', **STRICT)
    source = YoloTxtDataset(data_root=str(root), metainfo={'classes': DOTA15}, **args)
    back = through_coco(source, tmp_path / 'coco')
    assert_same(source, back, 'bboxes', 'areas', 'ignored')
    folders = {}
    for to, first, labels in (('dota', source, None), ('yolo', back, 'obb')):
        done = convert_dataset({split: first}, tmp_path / to, to, labels=labels)
        assert set(kinds(done.lost)) <= {
            'an image id: images are known by their file names',
            'a category id: classes are numbered from 0',
        }
        folders[to] = tmp_path / to
    metainfo = {'classes': (folders['dota'] / 'classes.txt').read_text().split()}
    dota = DotaDataset(
        f'{split}/images', f'{split}/labelTxt', data_root=str(folders['dota']), metainfo=metainfo, **STRICT
    )
    yolo = YoloTxtDataset(data_root=str(folders['yolo']), data_yaml='data.yaml', split=split, labels='obb', **STRICT)
    total = 0
    for stem, own in by_stem(source).items():
        for other in (by_stem(dota)[stem], by_stem(yolo)[stem]):
            assert own.labels.tolist() == other.labels.tolist()
            np.testing.assert_allclose(own.rbboxes, other.rbboxes, atol=2e-3)
        total += len(own)
    files = (root / 'labels' / split).glob('*.txt')
    assert total == sum(len(file.read_text().splitlines()) for file in files) - len(source.unused) > 0


def test_category_ids_of_coco(coco, tmp_path):
    back = through_coco(coco, tmp_path / 'coco')
    expected = (1,) if coco.keypoints else COCO_CATEGORY_IDS
    assert back.metainfo['category_ids'] == expected
