"""Round trips COCO -> labelme, CVAT, Label Studio, LVIS, Open Images, CrowdHuman -> COCO."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_formats import (
    bitmap,
    is_labelled,
    needs_bitmap,
    write_crowdhuman,
    write_cvat,
    write_cvat_skeletons,
    write_label_studio,
    write_label_studio_keypoints,
    write_labelme,
    write_lvis,
    write_open_images,
)
from writer_helpers import by_stem, kinds, named, read_back, read_coco, rings_of, write_everything

from detkit.converters.dataset_source import datasets_of_folder
from detkit.datasets import CocoDataset, YoloTxtDataset
from detkit.datasets.class_names import DOTA15
from detkit.datasets.writers import convert_dataset
from detkit.structures.rotated_bboxes import rbbox_corners

# Format -> its writer, the options that read it, and what it holds: outlines, and objects that are not to be learnt.
FORMATS = {
    'labelme': (write_labelme, [], True, True),
    'cvat': (write_cvat, ['images=images'], True, False),
    'label_studio': (write_label_studio, ['images=images', 'ann_file=export.json'], True, False),
    'lvis': (write_lvis, ['ann_file=lvis.json', 'img_prefix=images'], True, False),
    'open_images': (write_open_images, ['ann_file=boxes.csv'], False, True),
    'crowdhuman': (write_crowdhuman, ['ann_file=annotation_train.odgt'], False, True),
}


def only_first_class(source: CocoDataset) -> CocoDataset:
    """CrowdHuman has one class."""
    return CocoDataset(
        source.ann_file,
        source.img_prefix,
        data_root=source.data_root,
        test_mode=True,
        metainfo={'classes': source.metainfo['classes'][:1]},
    )


def there_and_back(source: CocoDataset, name: str, folder: Path) -> CocoDataset:
    write, options, _, _ = FORMATS[name]
    write(source, folder / 'other')
    other = datasets_of_folder(name, str(folder / 'other'), options, ['train'])
    assert other['train'].skipped == []
    done = convert_dataset(other, folder / 'coco', 'coco')
    assert set(kinds(done.lost)) <= {'how frequent the classes are'}
    return read_back(folder / 'coco')


def check(source: CocoDataset, back: CocoDataset, name: str) -> int:
    """Compare object by object; return how many there are."""
    _, _, outlines, flags = FORMATS[name]
    found, before = by_stem(back), by_stem(source)
    shapes = {Path(record.img_path).stem: record.ori_shape for record in source.records}
    total = 0
    assert set(found) <= set(shapes) and {stem for stem, own in before.items() if len(own)} <= set(found)
    for stem, after in found.items():
        own, shape = before[stem], shapes[stem]
        if name == 'lvis':
            own = own.select(
                np.array([not (own.ignored[i] or needs_bitmap(own, i, 99)) for i in range(len(own))], bool)
            )
        if not outlines:
            own = own.select(_first_of_each(own.labels, own.bboxes.clip(0, [*shape[::-1]] * 2)))
        names = ['person'] * len(own) if name == 'crowdhuman' else named(source, own)
        assert names == named(back, after), stem
        assert (after.ignored == (own.ignored if flags else False)).all()
        for i in range(len(own)):
            compare(own, after, i, shape, name)
        total += len(after)
    return total


def _first_of_each(labels: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
    """``(N,)`` bool: the objects whose class and box are no earlier one's; readers of boxes leave the others out."""
    firsts = np.unique(np.column_stack([labels, bboxes]), axis=0, return_index=True)[1]
    return np.isin(np.arange(len(labels)), firsts)


def compare(own: Any, after: Any, i: int, shape: tuple[int, int], name: str) -> None:
    rings = rings_of(own)[i]
    as_bitmap = needs_bitmap(own, i, 99 if name in ('labelme', 'lvis') else 1)
    if not FORMATS[name][2] or not (as_bitmap or rings):
        np.testing.assert_allclose(after.bboxes[i], own.bboxes[i].clip(0, [*shape[::-1]] * 2), atol=1e-3)
    elif as_bitmap:
        np.testing.assert_array_equal(bitmap(after, i, shape), bitmap(own, i, shape))
    else:
        np.testing.assert_allclose(
            np.concatenate(rings_of(after)[i]), np.concatenate(rings), atol=1e-4 if name == 'label_studio' else 0
        )
        assert [len(ring) for ring in rings_of(after)[i]] == [len(ring) for ring in rings]
        # The formats have no box beside the outline; LVIS has both.
        points = np.concatenate(rings)
        bounds = np.concatenate([points.min(0), points.max(0)]).clip(0, [*shape[::-1]] * 2)
        expected = own.bboxes[i].clip(0, [*shape[::-1]] * 2) if name == 'lvis' else bounds
        np.testing.assert_allclose(after.bboxes[i], expected, atol=1e-3)


@pytest.mark.parametrize('name', FORMATS)
def test_all_that_a_format_holds_comes_back(name, tmp_path):
    source = read_coco(write_everything(tmp_path / 'in'))
    if name == 'crowdhuman':
        source = only_first_class(source)
    count = check(source, there_and_back(source, name, tmp_path), name)
    assert count == {'lvis': 3, 'crowdhuman': 3}.get(name, 6)


@pytest.fixture(scope='module', params=['coco128', 'coco-pose-mini'])
def real_set(request, real_data) -> CocoDataset:
    root = real_data / request.param
    if not root.is_dir():
        pytest.skip(f'no {request.param}')
    if request.param == 'coco128':
        return read_coco(root, 'annotations/instances_train2017.json', 'train2017')
    return read_coco(root, 'annotations/instances_val2017.json', 'val2017')


@pytest.mark.default_cases(2)
@pytest.mark.realdata
@pytest.mark.parametrize('name', FORMATS)
def test_real_sets_come_back(name, tmp_path, real_set):
    source = only_first_class(real_set) if name == 'crowdhuman' else real_set
    count = check(source, there_and_back(source, name, tmp_path), name)
    own = [record.annotations for record in source.records]
    crowds = sum(int(one.ignored.sum()) for one in own)
    bitmaps = sum(needs_bitmap(one, i, 99) and not one.ignored[i] for one in own for i in range(len(one)))
    assert count == sum(map(len, own)) - (crowds + bitmaps if name == 'lvis' else 0)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ('name', 'write', 'options'),
    [
        ('cvat', write_cvat_skeletons, ['images=images']),
        ('label_studio', write_label_studio_keypoints, ['images=images', 'ann_file=export.json']),
    ],
)
def test_real_keypoints_come_back(name, write, options, tmp_path, real_data):
    """CVAT's skeletons keep which keypoints are hidden and have no boxes; Label Studio has the boxes only.

    A skeleton whose labelled keypoints span no area, such as one point, has no box to be learnt and is left out.
    """
    root = real_data / 'coco-pose-mini'
    if not root.is_dir():
        pytest.skip('no coco-pose-mini')
    source = read_coco(root, 'annotations/person_keypoints_val2017.json', 'val2017', keypoints=True)
    write(source, tmp_path / 'other')
    other = datasets_of_folder(name, str(tmp_path / 'other'), [*options, 'keypoints=True'], ['train'])
    names = source.metainfo['keypoint_names']
    assert {skip.reason for skip in other['train'].skipped} <= {'no area inside the image'}
    assert set(other['train'].metainfo['keypoint_names']) == set(names)
    convert_dataset(other, tmp_path / 'coco', 'coco')
    back = read_back(tmp_path / 'coco', keypoints=True)
    order = [back.metainfo['keypoint_names'].index(point) for point in names]
    total = 0
    for stem, after in by_stem(back).items():
        own = by_stem(source)[stem]
        own = own.select(is_labelled(own) & (spans_area(own.keypoints) if name == 'cvat' else True))
        before, found = own.keypoints, after.keypoints[:, order]
        visible = before[..., 2] if name == 'cvat' else 2 * (before[..., 2] > 0)
        assert (found[..., 2] == visible).all(), stem
        np.testing.assert_allclose(found[..., :2], before[..., :2] * (before[..., 2:] > 0), atol=1e-3)
        if name == 'label_studio':
            np.testing.assert_allclose(after.bboxes, own.bboxes, atol=1e-3)
        total += len(after)
    assert total == sum(int(is_labelled(own).sum()) for own in by_stem(source).values()) - len(other['train'].skipped)
    assert total > 40 and len(other['train'].skipped) == (1 if name == 'cvat' else 0)


def spans_area(keypoints: np.ndarray) -> np.ndarray:
    """``(N,)`` bool: the objects whose labelled keypoints ``(N, K, 3)`` lie on no straight line along an axis."""
    labelled, points = keypoints[..., 2:] > 0, keypoints[..., :2]
    return (np.where(labelled, points, -np.inf).max(1) > np.where(labelled, points, np.inf).min(1)).all(1)


@pytest.mark.realdata
@pytest.mark.parametrize('name', ['labelme', 'cvat', 'label_studio', 'lvis', 'open_images'])
def test_rotated_boxes_come_back(name, tmp_path, real_data):
    """As rotated boxes where a format's reader makes them, as outlines in LVIS, as boxes in Open Images."""
    root = real_data / 'dota8'
    if not root.is_dir():
        pytest.skip('no dota8')
    args = dict(data_root=str(root), metainfo={'classes': DOTA15}, test_mode=True, max_skipped=0.0)
    rotated = YoloTxtDataset('images/train', labels='obb', **args)
    convert_dataset({'train': rotated}, tmp_path / 'outlines', 'coco')
    source = read_back(tmp_path / 'outlines')
    write, options, _, _ = FORMATS[name]
    write(source, tmp_path / 'other')
    turns = name in ('labelme', 'cvat', 'label_studio')
    other = datasets_of_folder(name, str(tmp_path / 'other'), [*options, *['rotated=True'] * turns], ['train'])
    assert other['train'].skipped == []
    convert_dataset(other, tmp_path / 'coco', 'coco')
    back, total = read_back(tmp_path / 'coco'), 0
    for stem, own in by_stem(rotated).items():
        after = by_stem(back)[stem]
        assert named(back, after) == named(rotated, own), stem
        corners = rbbox_corners(own.rbboxes)
        for i in range(len(own)):
            if name == 'open_images':
                np.testing.assert_allclose(after.bboxes[i], by_stem(source)[stem].bboxes[i], atol=1e-2)
            else:
                (ring,) = rings_of(after)[i]
                distances = np.linalg.norm(ring[:, None] - corners[i][None], axis=2)
                assert ring.shape == (4, 2) and distances.min(1).max() < 2e-2 > distances.min(0).max()
        total += len(after)
    assert total == sum(len(record.annotations) for record in rotated.records) > 50
