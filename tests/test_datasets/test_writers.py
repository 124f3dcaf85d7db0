"""Writing datasets in other formats: what a format can hold comes back, the rest is counted."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from format_helpers import write_image, write_yolo
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tiny_data import write_tiny_data
from tiny_obb import write_tiny_obb
from tiny_panoptic import write_tiny_panoptic
from writer_helpers import (
    SIZE_WH,
    assert_same,
    bitmap_rle,
    by_stem,
    kinds,
    named,
    read_back,
    read_coco,
    rings_of,
    write_coco_json,
    write_everything,
)

from detkit.datasets import (
    ConcatDataset,
    DotaDataset,
    ImageFolderDataset,
    RepeatDataset,
    VOCDataset,
    YoloTxtDataset,
)
from detkit.datasets.formats import CocoPanopticDataset
from detkit.datasets.writers import convert_dataset
from detkit.datasets.writers.conversion_source import Tally
from detkit.datasets.writers.new_folder import PlacedImages
from detkit.datasets.writers.object_geometry import join_rings
from detkit.structures.polygons import Polygons
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.numbers import fewest_digits

STRICT = dict(test_mode=True, max_skipped=0.0)


@pytest.fixture(scope='module')
def everything(tmp_path_factory):
    return write_everything(tmp_path_factory.mktemp('everything'))


def read_yolo(root: Path, labels: str = 'outline', split: str = 'train') -> YoloTxtDataset:
    dataset = YoloTxtDataset(data_root=str(root), data_yaml='data.yaml', labels=labels, split=split, **STRICT)
    assert dataset.skipped == [] and dataset.unused == []
    return dataset


# -- COCO --------------------------------------------------------------------------------------------------------------


def test_coco_to_coco_keeps_all(everything, tmp_path):
    source = read_coco(everything, keypoints=True)
    done = convert_dataset({'train': source}, tmp_path / 'out', 'coco')
    assert done.lost == [] and done.counts == {'train': (3, 6)}
    back = read_back(tmp_path / 'out', keypoints=True)
    assert back.metainfo == source.metainfo and back.metainfo['category_ids'] == (3, 7, 90)
    assert_same(source, back, 'bboxes', 'ignored', 'areas', 'keypoints', 'rings', 'rles')
    assert [record.img_id for record in back.records] == [501, 77, 8]
    assert [os.path.basename(record.img_path) for record in back.records] == ['été 雪.png', 'x.png', 'empty.png']


def test_the_json_is_what_cocos_own_tools_read(everything, tmp_path):
    convert_dataset({'val': read_coco(everything, keypoints=True)}, tmp_path / 'out', 'coco')
    path = tmp_path / 'out/annotations/instances_val.json'
    coco = COCO(str(path))
    assert [len(coco.getAnnIds(image)) for image in (501, 77, 8)] == [3, 3, 0]
    entries = coco.loadAnns(coco.getAnnIds(501))
    assert entries[0]['bbox'] == [2.1, 3.7, 20.3, 11.9] and entries[0]['area'] == 200.25  # no digits of float32
    assert [entry['num_keypoints'] for entry in entries] == [2, 0, 3]
    assert entries[0]['keypoints'] == [10.5, 8.25, 2, 12.1, 7.9, 1, 0, 0, 0]
    assert [entry['iscrowd'] for entry in entries] == [0, 1, 0]
    assert coco.annToMask(entries[1]).sum() == 2000
    assert coco.cats[3]['skeleton'] == [[1, 2], [1, 3]] and 'keypoints' not in coco.cats[7]
    assert coco.imgs[501] == {'id': 501, 'file_name': 'été 雪.png', 'width': SIZE_WH[0], 'height': SIZE_WH[1]}


def test_string_ids_of_images_are_kept(tmp_path):
    images = [dict(id='a', file_name='a.png'), dict(id='zwei', file_name='b.png')]
    write_coco_json(tmp_path / 'in', images, [], [dict(id='cat-1', name='cat')])
    convert_dataset({'train': read_coco(tmp_path / 'in')}, tmp_path / 'out', 'coco')
    back = read_back(tmp_path / 'out')
    assert [record.img_id for record in back.records] == ['a', 'zwei'] and back.metainfo['category_ids'] == ('cat-1',)


def test_names_of_files_are_no_ids(tmp_path):
    write_yolo(tmp_path / 'in', {'0007': '0 .5 .5 .5 .5', 'b': ''})
    source = YoloTxtDataset('images/train', data_root=str(tmp_path / 'in'), metainfo={'classes': ['cat']})
    done = convert_dataset({'train': source}, tmp_path / 'out', 'coco')
    assert done.lost == []
    back = read_back(tmp_path / 'out')
    assert [record.img_id for record in back.records] == [1, 2] and back.metainfo['category_ids'] == (1,)
    assert_same(source, back, 'bboxes', 'areas')


def test_images_stay_where_they_are(everything, tmp_path):
    source = read_coco(everything)
    done = convert_dataset({'train': source}, tmp_path / 'out', 'coco', images='leave')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['annotations']
    back = read_coco(tmp_path / 'out', 'annotations/instances_train.json', done.usage[0].split('img_prefix=')[1])
    assert [record.img_path for record in back.records] == [record.img_path for record in source.records]


def test_panoptic_bitmaps_become_rles(tmp_path):
    root = write_tiny_panoptic(tmp_path / 'in')
    args = dict(data_root=str(root), ann_file='annotations/panoptic_train2017.json', img_prefix='train2017', **STRICT)
    source = CocoPanopticDataset(**args)
    convert_dataset({'train': source}, tmp_path / 'out', 'coco')
    back = read_back(tmp_path / 'out')
    assert_same(source, back, 'bboxes', 'areas', 'ignored')
    for record, own in zip(source.records, by_stem(back).values(), strict=True):
        rgb = cv2.imread(record.segments.path)[..., ::-1].astype(int)
        ids = rgb @ [1, 256, 65536]
        sizes = [(ids == number).sum() for number in record.segments.ids]
        assert sizes == [coco_mask.area(rle) for rle in own.rles]


# -- YOLO --------------------------------------------------------------------------------------------------------------


def test_coco_to_yolo_outlines_and_back(everything, tmp_path):
    source = read_coco(everything)
    done = convert_dataset({'train': source}, tmp_path / 'out', 'yolo')
    assert kinds(done.lost) == {
        'an object that is not to be learnt (crowd, difficult): there is no flag': 2,
        'the number of rings of an object: bridges of no width join them to one': 1,
        'a hole in a bitmap: it is filled': 1,
        'an area that is stated, and differs from that of what is written': 2,
        'an object without an outline, written as a box: some trainers then drop the outlines of all': 1,
        'an image id: images are known by their file names': 3,
        'a category id: classes are numbered from 0': 3,
    }
    back = read_yolo(tmp_path / 'out')
    assert back.metainfo['classes'] == source.metainfo['classes']
    assert by_stem(back).keys() == by_stem(source).keys()
    for stem, own in by_stem(source).items():
        kept = own.select(~own.ignored)
        found = by_stem(back)[stem]
        assert named(source, kept) == named(back, found)
        np.testing.assert_array_equal(kept.bboxes, found.bboxes)
        areas = [sum(Polygons(ring, np.array([len(ring)]), np.zeros(1, int)).areas(1)[0] for ring in rings)
                 for rings in rings_of(kept)]  # fmt: skip
        for area, own_area, rings, before in zip(areas, found.areas, rings_of(found), rings_of(kept), strict=True):
            if len(before) == 1:
                assert rings[0].tolist() == before[0].tolist()
            elif before:
                assert len(rings) == 1 and own_area == pytest.approx(area, rel=1e-6)
    # And once more, without any loss.
    again = convert_dataset({'train': back}, tmp_path / 'again', 'coco')
    assert again.lost == []
    assert_same(back, read_back(tmp_path / 'again'), 'bboxes', 'areas', 'rings')


def test_coco_to_yolo_pose_and_back(everything, tmp_path):
    source = read_coco(everything, keypoints=True)
    done = convert_dataset({'train': source}, tmp_path / 'out', 'yolo')
    assert kinds(done.lost)['an outline'] == 3
    back = read_yolo(tmp_path / 'out', 'pose')
    for key in ('keypoint_names', 'flip_pairs', 'classes'):
        assert back.metainfo[key] == source.metainfo[key]
    for stem, own in by_stem(source).items():
        kept = own.select(~own.ignored)
        np.testing.assert_array_equal(kept.bboxes, by_stem(back)[stem].bboxes)
        np.testing.assert_array_equal(kept.keypoints, by_stem(back)[stem].keypoints)
    content = yaml.safe_load((tmp_path / 'out/data.yaml').read_text('utf-8'))
    assert content['kpt_shape'] == [3, 3] and content['flip_idx'] == [0, 2, 1]
    assert content['names'] == {0: 'mânnequin 人', 1: 'dog', 2: 'never seen'} and content['train'] == 'images/train'


def test_yolo_obb_to_coco_to_dota_and_back(tmp_path):
    root = write_tiny_obb(tmp_path / 'in') / 'obb'
    source = read_yolo(root, 'obb')
    assert (np.concatenate([own.bboxes for own in by_stem(source).values()]).max()) == 64  # one reaches out of it
    convert_dataset({'train': source}, tmp_path / 'coco', 'coco')
    back = read_back(tmp_path / 'coco')
    assert_same(source, back, 'bboxes', 'areas')
    done = convert_dataset({'train': back}, tmp_path / 'dota', 'dota')
    assert 'an outline: the least rectangle around it is kept' not in kinds(done.lost)
    classes = (tmp_path / 'dota/classes.txt').read_text().split()
    dota = DotaDataset(
        'train/images', 'train/labelTxt', data_root=str(tmp_path / 'dota'), metainfo={'classes': classes}, **STRICT
    )
    assert classes == ['plane', 'ship', 'storage-tank']
    done = convert_dataset({'train': dota}, tmp_path / 'yolo', 'yolo')
    assert done.lost == []
    last = read_yolo(tmp_path / 'yolo', 'obb')
    for stem, own in by_stem(source).items():
        for other, names in ((by_stem(dota)[stem], classes), (by_stem(last)[stem], classes)):
            assert [names[label] for label in other.labels] == [classes[label] for label in own.labels]
            np.testing.assert_allclose(other.rbboxes, own.rbboxes, rtol=0, atol=1e-4)


def test_numbers_have_the_digits_that_float32_needs(tmp_path):
    """Boxes and points at any place of images of any size come back bit for bit, and few digits are spent."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, (w, h) in enumerate([(640, 480), (333, 1000), (7, 3), (5471, 3001)]):
        images.append(dict(id=number, file_name=f'{number}.png', width=w, height=h))
        low = rng.random((40, 2)) * (w, h) * 0.9
        size = rng.random((40, 2)) * ((w, h) - low)
        low[:10], size[10:20] = 0, (w, h) - low[10:20]  # flush with a border
        low[20:30] = low[20:30].round(1)
        size[20:30] = np.minimum(size[20:30].round(1) + 0.1, (w, h) - low[20:30])
        for (x, y), (bw, bh) in zip(low.tolist(), size.tolist(), strict=True):
            ring = [x, y, x + bw, y, x + bw / 3, y + bh]
            annotations.append(dict(image_id=number, category_id=1, bbox=[x, y, bw, bh], segmentation=[ring]))
    write_coco_json(tmp_path / 'in', images, annotations, [dict(id=1, name='cat')])
    source = read_coco(tmp_path / 'in', max_skipped=0.1)
    inside = {stem: own.bboxes.clip(0, np.inf) for stem, own in by_stem(source).items()}
    for labels in ('box', 'outline'):
        convert_dataset({'train': source}, tmp_path / labels, 'yolo', labels=labels)
        back = by_stem(read_yolo(tmp_path / labels))
        for stem, own in by_stem(source).items():
            w, h = next((i['width'], i['height']) for i in images if i['file_name'] == f'{stem}.png')
            np.testing.assert_array_equal(inside[stem].clip(0, [w, h, w, h]), back[stem].bboxes)
            if labels == 'outline':
                assert [r[0].tolist() for r in rings_of(own)] == [r[0].tolist() for r in rings_of(back[stem])]
    convert_dataset({'train': source}, tmp_path / 'voc', 'voc')
    assert_same(source, VOCDataset('train', data_root=str(tmp_path / 'voc'), **STRICT), 'bboxes')
    convert_dataset({'train': source}, tmp_path / 'coco', 'coco')
    assert_same(source, read_back(tmp_path / 'coco'), 'bboxes', 'areas', 'rings')


def test_fewest_digits():
    values = np.array([0.1 + 0.2, 1 / 3, 2.0])
    shortest = fewest_digits(values, lambda rounded: rounded.astype(np.float32) == values.astype(np.float32))
    assert shortest.tolist() == [0.3, 0.333333333, 2.0] or shortest.tolist()[::2] == [0.3, 2.0]
    assert (shortest.astype(np.float32) == values.astype(np.float32)).all()


def test_rings_are_joined_where_they_are_nearest():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], np.float32)
    other = square[::-1] + [10, 1]  # runs the other way round
    far = square + [0, 20]
    ring = join_rings([square, other, far])
    assert len(ring) == 4 + 2 * (4 + 2)
    sizes = np.array([len(ring)])
    assert Polygons(ring, sizes, np.zeros(1, int)).areas(1)[0] == 48
    canvas = np.zeros((32, 32), np.uint8)
    cv2.fillPoly(canvas, [ring.astype(np.int32)], 1)
    for x, y in ((2, 2), (12, 3), (2, 22)):
        assert canvas[y, x] == 1
    assert canvas[15, 12] == 0 and canvas[2, 18] == 0
    # The bridges run between the nearest points, to and fro.
    steps = np.hypot(*(np.roll(ring, -1, 0) - ring).T)
    assert sorted(steps.round(3).tolist())[-4:] == sorted([np.hypot(6, 1).round(3)] * 2 + [16.0] * 2)


def test_what_lies_beyond_the_image_is_cut_and_counted(tmp_path):
    w, h = SIZE_WH
    annotations = [
        dict(bbox=[-5, -5, 20, 20], segmentation=[[-5, -5, 15, -5, 15, 15, -5, 15]]),
        dict(bbox=[50, 40, 30, 3], segmentation=[]),
        dict(bbox=[3, 3, 10, 10], segmentation=[[3, 3, 10, 3, 10, 10]]),
        dict(bbox=[3, 3, 10, 10], segmentation=[[4, 3, 13, 3, 13, 13]]),
    ]
    for entry in annotations:
        entry.update(image_id=1, category_id=1)
    write_coco_json(tmp_path / 'in', [dict(file_name='a.png')], annotations, [dict(id=1, name='cat')])
    source = read_coco(tmp_path / 'in')
    done = convert_dataset({'train': source}, tmp_path / 'out', 'yolo')
    lost = kinds(done.lost)
    assert lost['the part of a box beyond the image'] == 2 and lost['the part of an outline beyond the image'] == 1
    assert lost['a box that is not the one around the outline'] == 2
    own = by_stem(read_yolo(tmp_path / 'out'))['a']
    assert own.bboxes.tolist() == [[0, 0, 15, 15], [50, 40, w, 43], [3, 3, 10, 10], [4, 3, 13, 13]]
    done = convert_dataset({'train': source}, tmp_path / 'box', 'yolo', labels='box')
    assert kinds(done.lost)["an object whose line is the same as another one's"] == 1
    assert len(by_stem(read_yolo(tmp_path / 'box'))['a']) == 3


def test_keypoints_outside_count_as_not_labelled(tmp_path):
    category = dict(id=1, name='cat', keypoints=['a', 'b'], skeleton=[])
    entry = dict(bbox=[3, 3, 10, 10], image_id=1, category_id=1, keypoints=[5, 5, 2, 70, 5, 2], num_keypoints=2)
    write_coco_json(tmp_path / 'in', [dict(file_name='a.png')], [entry], [category])
    done = convert_dataset({'train': read_coco(tmp_path / 'in', keypoints=True)}, tmp_path / 'out', 'yolo')
    assert kinds(done.lost)['a keypoint outside the image: it counts as not labelled'] == 1
    assert by_stem(read_yolo(tmp_path / 'out', 'pose'))['a'].keypoints.tolist() == [[[5, 5, 2], [0, 0, 0]]]


def test_pose_needs_keypoints(everything, tmp_path):
    with pytest.raises(DataError, match='keypoints=True'):
        convert_dataset({'train': read_coco(everything)}, tmp_path / 'out', 'yolo', labels='pose')
    assert list(tmp_path.iterdir()) == []


# -- VOC, DOTA, folders ------------------------------------------------------------------------------------------------


def test_coco_to_voc_and_back(everything, tmp_path):
    source = read_coco(everything, keypoints=True)
    done = convert_dataset({'train': source, 'val': source}, tmp_path / 'out', 'voc', images='copy')
    lost = kinds(done.lost)
    assert lost['an outline'] == 8 and lost['the keypoints of an object'] == 4
    assert lost['a class without objects: classes are known by them alone'] == 1
    back = VOCDataset('train', data_root=str(tmp_path / 'out'), **STRICT)
    assert back.skipped == [] and back.metainfo['classes'] == ('dog', 'mânnequin 人')
    assert set(by_stem(back)) == {'été_雪', 'x', 'empty'}  # a list of images has no spaces
    renamed = {stem.replace(' ', '_'): own for stem, own in by_stem(source).items()}
    for stem, own in renamed.items():
        found = by_stem(back)[stem]
        assert named(source, own) == named(back, found)
        np.testing.assert_array_equal(own.bboxes, found.bboxes)
        np.testing.assert_array_equal(own.ignored, found.ignored)
    convert_dataset({'train': back}, tmp_path / 'coco', 'coco')
    assert_same(back, read_back(tmp_path / 'coco', metainfo={'classes': back.metainfo['classes']}), 'bboxes', 'ignored')


def test_voc_counts_whole_pixels_from_1(tmp_path):
    entry = dict(bbox=[0, 0, SIZE_WH[0], 10], image_id=1, category_id=1)
    write_coco_json(tmp_path / 'in', [dict(file_name='a.png')], [entry], [dict(id=1, name='cat')])
    convert_dataset({'train': read_coco(tmp_path / 'in')}, tmp_path / 'out', 'voc')
    text = (tmp_path / 'out/Annotations/a.xml').read_text()
    for tag, value in dict(xmin=1, ymin=1, xmax=SIZE_WH[0], ymax=10, width=SIZE_WH[0], difficult=0).items():
        assert f'<{tag}>{value}</{tag}>' in text


def test_coco_to_dota_and_back(everything, tmp_path):
    source = read_coco(everything)
    done = convert_dataset({'train': source}, tmp_path / 'out', 'dota')
    assert kinds(done.lost)['an outline: the least rectangle around it is kept'] == 1  # two squares
    classes = (tmp_path / 'out/classes.txt').read_text('utf-8').split()
    args = dict(images='train/images', labels='train/labelTxt', data_root=str(tmp_path / 'out'))
    back = DotaDataset(**args, metainfo={'classes': classes}, **STRICT)
    convert_dataset({'train': back}, tmp_path / 'coco', 'coco')
    last = read_back(tmp_path / 'coco')
    for stem, own in by_stem(source).items():
        assert [name.replace(' ', '-') for name in named(source, own)] == named(last, by_stem(last)[stem])
        np.testing.assert_array_equal(own.ignored, by_stem(last)[stem].ignored)
        hulls = by_stem(last)[stem].bboxes
        joined = [len(rings) > 1 for rings in rings_of(own)]
        np.testing.assert_allclose(own.bboxes[~np.array(joined, bool)], hulls[~np.array(joined, bool)], atol=1e-4)


def test_classes_that_a_format_cannot_tell_apart(tmp_path):
    def convert(names: list[str], to: str) -> None:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        categories = [dict(id=i, name=name) for i, name in enumerate(names)]
        write_coco_json(root, [dict(file_name='a.png')], [], categories)
        convert_dataset({'train': read_coco(root)}, root / 'out', to)

    with pytest.raises(DataError, match="'storage tank' and 'Storage-Tank' are one"):
        convert(['storage tank', 'Storage-Tank'], 'dota')
    with pytest.raises(DataError, match='cannot be written to an xml'):
        convert(['a\x01b'], 'voc')


def test_folders_of_images(tmp_path):
    for split, name in (('train', 'cat/a.png'), ('train', 'dog/a.png'), ('train', 'dog/ü.png'), ('val', 'dog/b.png')):
        write_image(tmp_path / 'in' / split / name, 8, 8)

    def read(root: Path, split: str) -> ImageFolderDataset:
        return ImageFolderDataset(split, 'train', data_root=str(root), test_mode=True)

    sources = {split: read(tmp_path / 'in', split) for split in ('train', 'val')}
    done = convert_dataset(sources, tmp_path / 'out', 'image_folder')
    assert kinds(done.lost) == {'a class without an image': 1}
    for split, source in sources.items():
        back = read(tmp_path / 'out', split)
        assert [(r.img_id, r.class_label) for r in back.records] == [(r.img_id, r.class_label) for r in source.records]
    with pytest.raises(DataError, match='write them as image_folder'):
        convert_dataset(sources, tmp_path / 'no', 'yolo')


def test_objects_are_no_classes_of_images(everything, tmp_path):
    with pytest.raises(DataError, match='image_folder'):
        convert_dataset({'train': read_coco(everything)}, tmp_path / 'out', 'image_folder')


# -- several splits and parts ------------------------------------------------------------------------------------------


def test_splits_of_other_classes_share_one_list(tmp_path):
    for split, names in (('train', ('cat', 'dog')), ('val', ('owl', 'cat'))):
        entries = [dict(bbox=[i, 2, 9, 9], image_id=1, category_id=i + 1) for i in range(2)]
        categories = [dict(id=i + 1, name=name) for i, name in enumerate(names)]
        write_coco_json(tmp_path / split, [dict(file_name=f'{split}.png')], entries, categories)
    sources = {split: read_coco(tmp_path / split) for split in ('train', 'val')}
    done = convert_dataset(sources, tmp_path / 'out', 'yolo')
    reason = 'a category id, as the parts of the source give their classes different ones: numbered anew'
    assert kinds(done.lost)[reason] == 3
    for split, source in sources.items():
        back = read_yolo(tmp_path / 'out', split=split)
        assert back.metainfo['classes'] == ('cat', 'dog', 'owl')
        assert_same(source, back, 'bboxes')


def test_parts_repeats_and_names_that_collide(tmp_path):
    parts = []
    for part in ('one', 'two'):
        entry = dict(bbox=[3, 2, 9, 9 + len(parts)], image_id=1, category_id=1)
        images = [dict(file_name='A.png'), dict(file_name='a.bmp'), dict(file_name='sub/a.png')]
        write_coco_json(tmp_path / part, images, [entry], [dict(id=1, name='cat')])
        parts.append(read_coco(tmp_path / part))
    source = ConcatDataset([RepeatDataset(parts[0], 3), parts[1]])
    for to in ('coco', 'yolo'):
        done = convert_dataset({'train': source}, tmp_path / to, to)
        assert done.counts == {'train': (6, 2)}
        reason = 'a file name that had to change, as another image has it or text cannot hold it'
        assert kinds(done.lost)[reason] == 5
        back = read_back(tmp_path / to) if to == 'coco' else read_yolo(tmp_path / to)
        names = [os.path.basename(record.img_path) for record in back.records]
        assert len({os.path.splitext(name)[0].casefold() for name in names}) == 6
        heights = sorted(float(own.bboxes[0, 3] - own.bboxes[0, 1]) for own in by_stem(back).values() if len(own))
        assert heights == [9, 10]
    assert kinds(convert_dataset({'train': source}, tmp_path / 'x', 'coco').lost)[
        'an image id, as the parts of the source share some or have none: numbered anew'
    ] == 6  # fmt: skip


def test_images_in_folders_of_the_same_names_are_numbered(tmp_path):
    """Four names of folders make a name; where those are the same as well, a number follows."""
    sources = [tmp_path / f'{number}' / 'x' / 'y' / 'z' / 'a.png' for number in range(4)]
    for number, path in enumerate(sources):
        write_image(path, 10 + number, 8)
    tally = Tally()
    placed = PlacedImages(tmp_path / 'out', 'copy', tally)
    names = [placed.put(str(path)) for path in sources for _ in range(2)]
    assert names[:5] == ['a.png', 'z_a.png', 'y_z_a.png', 'x_y_z_a.png', 'a-2.png'] and len(set(names)) == 8
    widths = [cv2.imread(str(tmp_path / 'out' / name)).shape[1] for name in names]
    assert widths == [10, 10, 11, 11, 12, 12, 13, 13]


def test_unused_ids_of_categories_are_no_classes(tmp_path):
    write_tiny_data(tmp_path)
    source = read_coco(tmp_path, 'annotations/instances_train2017.json', 'train2017', keep_category_ids=True)
    assert source.metainfo['classes'][0] == 'N/A'
    done = convert_dataset({'train': source}, tmp_path / 'out', 'yolo')
    assert 'N/A' not in yaml.safe_load((tmp_path / 'out/data.yaml').read_text())['names'].values()
    assert_same(source, read_yolo(tmp_path / 'out'), 'bboxes')
    assert 'an object of a class without a name' not in kinds(done.lost)
    convert_dataset({'train': source}, tmp_path / 'coco', 'coco')
    back = read_coco(tmp_path / 'coco', 'annotations/instances_train.json', 'train', keep_category_ids=True)
    assert back.metainfo['classes'] == source.metainfo['classes']


def test_what_the_reader_left_out_is_in_the_report(tmp_path):
    write_yolo(tmp_path / 'in', {'a': '0 .5 .5 .5 .5\n0 .5 .5 0 .5\n', 'b': None})
    source = YoloTxtDataset(
        'images/train', data_root=str(tmp_path / 'in'), metainfo={'classes': ['cat']}, max_skipped=1
    )
    text = '\n'.join(convert_dataset({'train': source}, tmp_path / 'out', 'coco').lines())
    assert 'train: 2 images with 1 object read' in text
    assert 'left out by the reader' in text and '1 × a box of no width or no height' in text
    assert 'coco keeps all of it' in text and f'data_root={tmp_path / "out"}' in text


# -- the folder --------------------------------------------------------------------------------------------------------


def test_a_folder_with_files_is_refused_and_kept(everything, tmp_path):
    (tmp_path / 'note.txt').write_text('mine')
    dangling = tmp_path / 'link'
    dangling.symlink_to(tmp_path / 'gone')
    for target, match in (
        (tmp_path, 'not empty'),
        (tmp_path / 'note.txt', 'is a file'),
        (dangling, 'is a link to .*gone'),
    ):
        with pytest.raises(DataError, match=match):
            convert_dataset({'train': read_coco(everything)}, target, 'coco')
    dangling.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ['note.txt']
    (tmp_path / 'empty').mkdir()
    convert_dataset({'train': read_coco(everything)}, tmp_path / 'empty', 'coco')
    assert (tmp_path / 'empty/annotations').is_dir()


def test_nothing_is_left_when_it_fails(everything, tmp_path, monkeypatch):
    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr('detkit.datasets.writers.coco_writer._categories', fail)
    with pytest.raises(KeyboardInterrupt):
        convert_dataset({'train': read_coco(everything)}, tmp_path / 'out', 'coco')
    assert list(tmp_path.iterdir()) == []


def test_links_and_copies(everything, tmp_path, monkeypatch):
    source = read_coco(everything)
    original = source.records[1].img_path
    convert_dataset({'train': source}, tmp_path / 'link', 'coco')
    convert_dataset({'train': source}, tmp_path / 'copy', 'coco', images='copy')

    def refuse(*args, **kwargs):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    convert_dataset({'train': source}, tmp_path / 'other', 'coco')
    assert os.path.samefile(tmp_path / 'link/train/x.png', original)
    for folder in ('copy', 'other'):
        path = tmp_path / folder / 'train/x.png'
        assert not os.path.samefile(path, original) and path.read_bytes() == Path(original).read_bytes()


def test_an_image_that_is_gone_costs_itself_alone(tmp_path):
    root = write_everything(tmp_path / 'in')
    source = read_coco(root)
    os.remove(source.records[0].img_path)
    done = convert_dataset({'train': source}, tmp_path / 'out', 'coco')
    assert kinds(done.lost) == {'an image that does not exist': 1}
    content = json.loads((tmp_path / 'out/annotations/instances_train.json').read_text())
    assert [image['id'] for image in content['images']] == [77, 8]
    assert {entry['image_id'] for entry in content['annotations']} == {77}
    assert [entry['id'] for entry in content['annotations']] == [1, 2, 3]


def test_a_name_that_is_no_utf_8(tmp_path):
    write_image(tmp_path / 'in/images/train/a.png', 20, 10)
    os.rename(tmp_path / 'in/images/train/a.png', os.fsencode(tmp_path / 'in/images/train') + b'/\xe9.png')
    (tmp_path / 'in/labels/train').mkdir(parents=True)
    source = YoloTxtDataset('images/train', data_root=str(tmp_path / 'in'), metainfo={'classes': ['cat']})
    for to in ('coco', 'yolo', 'voc', 'dota'):
        convert_dataset({'train': source}, tmp_path / to, to)
    assert len(read_back(tmp_path / 'coco')) == len(read_yolo(tmp_path / 'yolo')) == 1


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        (dict(to='cocoo'), "Did you mean 'coco'"),
        (dict(to='yolo', images='leave'), 'images=leave'),
        (dict(to='coco', images='move'), 'link, copy, leave'),
        (dict(to='coco', labels='pose'), 'labels=pose'),
        (dict(to='yolo', labels='poses'), "Did you mean 'pose'"),
    ],
)
def test_wrong_options(everything, tmp_path, options, match):
    with pytest.raises(ConfigError, match=match):
        convert_dataset({'train': read_coco(everything)}, tmp_path / 'out', **options)


def test_a_split_becomes_a_file_name(everything, tmp_path):
    for name in ('../train', '', 'a/b'):
        with pytest.raises(ConfigError, match='file names'):
            convert_dataset({name: read_coco(everything)}, tmp_path / 'out', 'coco')


def test_an_outline_with_rle_only_for_crowds_is_an_outline_set(tmp_path):
    """A set whose only shape is one bitmap is written with outlines, not boxes."""
    entry = dict(bbox=[4, 6, 20, 20], segmentation=bitmap_rle((4, 6, 24, 26)), image_id=1, category_id=1)
    write_coco_json(tmp_path / 'in', [dict(file_name='a.png')], [entry], [dict(id=1, name='cat')])
    convert_dataset({'train': read_coco(tmp_path / 'in')}, tmp_path / 'out', 'yolo')
    own = by_stem(read_yolo(tmp_path / 'out'))['a']
    assert sorted(map(tuple, rings_of(own)[0][0].tolist())) == [(4, 6), (4, 26), (24, 6), (24, 26)]
    assert own.areas.tolist() == [400]
