"""COCO's keypoint files."""

import copy
import json

import numpy as np
import pytest
from format_helpers import write_image

from detkit.config import load_config
from detkit.datasets import CocoDataset, RepeatDataset
from detkit.datasets.transforms.scene_objects import place_objects
from detkit.structures.keypoints import COCO_FLIP_PAIRS, COCO_KEYPOINTS, COCO_SIGMAS, COCO_SKELETON
from detkit.structures.scene import Scene
from detkit.utils.errors import ConfigError, DataError

NAMES = ['nose', 'left_eye', 'right_eye']
LABELLED = [5, 3, 2, 6, 2, 1, 0, 0, 0]
CONTENT = {
    'images': [{'id': i, 'file_name': f'{name}.png', 'height': 10, 'width': 20} for i, name in enumerate('abc')],
    'categories': [
        {'id': 1, 'name': 'person', 'keypoints': NAMES, 'skeleton': [[1, 2], [1, 3]]},
        {'id': 2, 'name': 'chair'},
    ],
    'annotations': [
        {
            'id': 1,
            'image_id': 0,
            'category_id': 1,
            'bbox': [2, 1, 4, 5],
            'area': 11.5,
            'keypoints': LABELLED,
            'num_keypoints': 2,
            'iscrowd': 0,
        },
        {
            'id': 2,
            'image_id': 0,
            'category_id': 1,
            'bbox': [0, 0, 5, 5],
            'keypoints': [0] * 9,
            'num_keypoints': 0,
            'iscrowd': 0,
        },
        {
            'id': 3,
            'image_id': 0,
            'category_id': 1,
            'bbox': [0, 0, 9, 9],
            'keypoints': [0] * 9,
            'num_keypoints': 0,
            'iscrowd': 1,
        },
        {'id': 4, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 5, 5]},
    ],
}


@pytest.fixture
def make(tmp_path):
    for name in 'abc':
        write_image(tmp_path / 'pictures' / f'{name}.png', 20, 10)

    def _make(change=None, **options):
        content = copy.deepcopy(CONTENT)
        if change is not None:
            change(content)
        (tmp_path / 'keypoints.json').write_text(json.dumps(content))
        options = {'metainfo': {'classes': ('person',)}, 'keypoints': True, **options}
        return CocoDataset('keypoints.json', 'pictures', data_root=str(tmp_path), **options)

    return _make


def test_no_objects(make):
    data = make(lambda content: content['annotations'].clear())
    assert [len(record.annotations) for record in data.records] == [0, 0, 0]
    assert data.records[0].annotations.keypoints.shape == (0, 3, 3)


def test_keypoints_and_what_the_file_says_of_them(make):
    data = make()
    assert data.skipped == []
    own = data.records[0].annotations
    np.testing.assert_allclose(own.keypoints[0], [[5, 3, 2], [6, 2, 1], [0, 0, 0]])
    assert own.areas[0] == 11.5
    assert data.metainfo['keypoint_names'] == tuple(NAMES) and data.metainfo['flip_pairs'] == ((1, 2),)
    assert data.metainfo['skeleton'] == ((0, 1), (0, 2)) and data.metainfo['sigmas'] == (1 / 3,) * 3
    given = make(metainfo=dict(classes=('person',), sigmas=(0.1, 0.2, 0.3), flip_pairs=()))
    assert given.metainfo['sigmas'] == (0.1, 0.2, 0.3) and given.metainfo['flip_pairs'] == ()
    assert make(keypoints=False).records[0].annotations.keypoints is None


def test_objects_without_labelled_keypoints(make):
    """Training leaves them out, as the reference's label files do; a test needs them to ignore them as COCO does."""
    assert [record.annotations.ignored.tolist() for record in make().records] == [[False, True], [], []]
    assert [len(record.annotations) for record in make(unlabelled='keep').records] == [3, 1, 0]
    assert [len(record.annotations) for record in make(test_mode=True).records] == [3, 1, 0]
    assert [len(record.annotations) for record in make(only_labelled=True).records] == [2]
    assert [len(record.annotations) for record in make(only_labelled=True, test_mode=True).records] == [3]
    with pytest.raises(ConfigError, match='unlabelled'):
        make(unlabelled='ignore')


def test_keypoint_rcnn_takes_persons_and_images_as_torchvision_s_recipe_does(make):
    config = load_config('keypoint_rcnn/pose_coco', need_classes=False)
    for loader, counts in ((config.train_dataloader, [3]), (config.val_dataloader, [3, 1, 0])):
        options = {key: loader.dataset[key] for key in ('only_labelled', 'unlabelled') if key in loader.dataset}
        data = make(test_mode=loader is config.val_dataloader, **options)
        assert [len(record.annotations) for record in data.records] == counts


@pytest.mark.parametrize(
    ('keypoints', 'reason'),
    [
        ([1] * 8, '8 keypoint values, where 3 keypoints have 9'),
        ([1] * 51, '51 keypoint values, where 3 keypoints have 9'),
        ([1] * 8 + ['x'], 'no numbers'),
        ([1] * 8 + [float('nan')], 'no numbers'),
        ([1] * 8 + [3], 'a visibility of a keypoint that is not 0, 1 or 2'),
        ([1] * 8 + [-1], 'a visibility of a keypoint that is not 0, 1 or 2'),
        ('many', '1 keypoint values'),
    ],
)
def test_malformed_keypoints_are_left_out_alone(make, keypoints, reason):
    data = make(lambda content: content['annotations'][1].update(keypoints=keypoints), unlabelled='keep')
    ((path, where, why, *_),) = data.skipped
    assert path.endswith('keypoints.json') and where == 'annotation 2 of image 0' and reason in why
    assert [len(record.annotations) for record in data.records] == [2, 1, 0]


def test_labelled_keypoints_outside_of_the_image_are_named(make):
    def change(content):
        content['annotations'][0]['keypoints'] = [5, 3, 2, 40, 2, 1, 0, 0, 0]
        content['annotations'][1]['keypoints'] = [5, 3, 2, 20.5, 10.5, 2, -50, 0, 0]  # rounding, and an unlabelled one

    data = make(change, unlabelled='keep')
    reason = 'a labelled keypoint outside of the image: training takes it as not labelled, metrics as labelled'
    assert [(skip.where, skip.reason) for skip in data.unused] == [('annotation 1 of image 0', reason)]
    keypoints = place_objects(Scene.of_image(np.zeros((10, 20, 3), np.uint8), data.records[0].annotations)).annotations
    assert data.records[0].annotations.keypoints[0, :, 2].tolist() == [2, 1, 0]
    assert keypoints.keypoints[0, :, 2].tolist() == [2, 0, 0]


def test_objects_of_one_box_are_apart_by_their_keypoints(make):
    def change(content):
        first = content['annotations'][0]
        other = [first['keypoints'][0] + 1, *first['keypoints'][1:]]
        content['annotations'] += [{**first, 'id': 5}, {**first, 'id': 6, 'keypoints': other}]

    for reads, ids in ((True, (5,)), (False, (5, 6))):
        dataset = make(change, keypoints=reads)
        repeats = [skip.where for skip in dataset.unused if skip.reason == 'the same as an earlier annotation']
        assert [str(number) in where for number, where in zip(ids, repeats, strict=True)] == [True] * len(ids)


def test_classes_must_share_their_keypoints(make):
    def add(content):
        content['categories'][1]['keypoints'] = ['seat']

    with pytest.raises(DataError, match='2 different sets of keypoints'):
        make(add, metainfo=None)
    assert make(add).metainfo['keypoint_names'] == tuple(NAMES)
    with pytest.raises(DataError, match='person_keypoints'):
        make(metainfo=dict(classes=('chair',)))


def test_a_short_set_is_repeated_to_a_length(make):
    data = make()
    assert len(RepeatDataset(data, at_least=7)) == 9 and len(RepeatDataset(data, times=4, at_least=7)) == 12
    assert len(RepeatDataset(data, at_least=3)) == 3


@pytest.mark.realdata
def test_real_keypoints(real_data):
    root = real_data / 'coco-pose-mini'
    if not root.is_dir():
        pytest.skip(f'no {root}')
    options = dict(img_prefix='train2017', data_root=str(root), keypoints=True)
    ann_file = 'annotations/person_keypoints_train2017.json'
    data = CocoDataset(ann_file, test_mode=True, **options)
    assert data.skipped == [] and len(data) == 50
    assert data.metainfo['keypoint_names'] == COCO_KEYPOINTS and data.metainfo['skeleton'] == COCO_SKELETON
    assert data.metainfo['flip_pairs'] == COCO_FLIP_PAIRS and data.metainfo['sigmas'] == COCO_SIGMAS
    entries = json.loads((root / ann_file).read_text())['annotations']
    counts = np.concatenate([(record.annotations.keypoints[..., 2] > 0).sum(1) for record in data.records])
    assert sorted(counts) == sorted(entry['num_keypoints'] for entry in entries)
    labelled = CocoDataset(ann_file, only_labelled=True, **options)
    assert len(labelled) == len({entry['image_id'] for entry in entries if entry['num_keypoints']})
    assert all(
        (record.annotations.keypoints[..., 2] > 0).any(1)[~record.annotations.ignored].all()
        for record in labelled.records
    )
