"""YOLO folders, image lists and data yamls."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from format_helpers import write_image, write_yolo
from PIL import Image

from detkit.datasets import CocoDataset, YoloTxtDataset
from detkit.datasets.class_names import COCO80
from detkit.datasets.skips import skip_lines
from detkit.datasets.transforms.loading import read_image
from detkit.utils.errors import DataError

CLASSES = {'classes': ('a', 'b', 'c')}


def load(root, images='images/train', **options):
    return YoloTxtDataset(images=images, data_root=str(root), **{'metainfo': CLASSES, **options})


def test_records_in_pixels(tmp_path):
    text = '1 0.5 0.5 0.2 0.4\n2 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n'
    dataset = load(write_yolo(tmp_path, {'one': text, 'none': None, 'empty': ''}))
    assert [record.img_id for record in dataset.records] == ['empty', 'none', 'one']
    assert dataset.skipped == [] and dataset.metainfo['classes'] == ('a', 'b', 'c')
    record = dataset.records[2]
    assert record.ori_shape == (10, 20)
    annotations = record.annotations
    assert annotations.labels.tolist() == [1, 2] and annotations.labels.dtype == np.int64
    assert annotations.bboxes.dtype == np.float32
    np.testing.assert_allclose(annotations.bboxes, [[8, 3, 12, 7], [2, 2, 10, 6]], atol=1e-5)
    np.testing.assert_allclose(annotations.areas, [16, 32], rtol=1e-5)
    assert not annotations.ignored.any()
    np.testing.assert_allclose(annotations.polygons.points, [[2, 2], [10, 2], [10, 6], [2, 6]], atol=1e-5)
    assert annotations.polygons.ring_sizes.tolist() == [4] and annotations.polygons.ring_owners.tolist() == [1]
    for record in dataset.records[:2]:
        assert len(record.annotations) == 0 and len(record.annotations.polygons.points) == 0


def test_boxes_alone_have_no_polygons(tmp_path):
    dataset = load(write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4'}))
    assert dataset.records[0].annotations.polygons is None and dataset.records[0].annotations.rles is None


def test_the_last_folder_called_images_counts(tmp_path):
    root = tmp_path / 'images' / 'set'
    write_yolo(root, {'one': '0 0.5 0.5 0.2 0.4'})
    assert len(load(root).records[0].annotations) == 1


def test_labels_beside_images(tmp_path):
    for folder in ('photos', 'images'):
        write_image(tmp_path / folder / 'one.png', 20, 10)
        (tmp_path / folder / 'one.txt').write_text('0 0.5 0.5 0.2 0.4')
        assert len(load(tmp_path, images=folder).records[0].annotations) == 1


def test_several_folders_and_equal_names(tmp_path):
    write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4'}, 'x')
    write_yolo(tmp_path, {'one': '1 0.5 0.5 0.2 0.4'}, 'y')
    dataset = load(tmp_path, images=['images/y', 'images/x', 'images/y'])
    assert [record.annotations.labels.tolist() for record in dataset.records] == [[1], [0]]
    assert [record.img_id for record in dataset.records] == ['y/one.png', 'x/one.png']
    assert [(skip.reason, skip.count) for skip in dataset.unused[:1]] == [('an image that is listed again', 1)]


def test_nothing_stale_when_a_label_changes(tmp_path):
    write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4'})
    assert load(tmp_path).records[0].annotations.labels.tolist() == [0]
    before = sorted(tmp_path.rglob('*'))
    (tmp_path / 'labels/train/one.txt').write_text('1 0.5 0.5 0.2 0.4')
    assert load(tmp_path).records[0].annotations.labels.tolist() == [1]
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tiff'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_images_have_their_upright_size(tmp_path, suffix, orientation):
    write_image(tmp_path / f'images/train/one.{suffix}', 20, 10, orientation)
    (tmp_path / 'labels/train').mkdir(parents=True)
    (tmp_path / 'labels/train/one.txt').write_text('0 0.5 0.5 1 1')
    record = load(tmp_path).records[0]
    assert record.ori_shape == ((20, 10) if orientation > 4 else (10, 20))
    assert record.annotations.bboxes[0, 2:].tolist() == list(record.ori_shape[::-1])
    assert read_image(record.img_path).shape[:2] == record.ori_shape


def test_bad_lines_and_images_are_listed(tmp_path):
    good = '\n'.join(f'0 0.5 0.5 0.{i:03d} 0.4' for i in range(1, 400))
    root = write_yolo(tmp_path, {'bad': '0 0.5 0.5 0.2\n1 0.5 0.5 0.2 0.4\n7 0.5 0.5 0.1 0.1', 'good': good})
    (root / 'images/train/broken.png').write_bytes(b'no image')
    dataset = load(root)
    assert [record.img_id for record in dataset.records] == ['bad', 'good']
    assert dataset.records[0].annotations.labels.tolist() == [1]
    by_file = {(os.path.basename(file), where): reason for file, where, reason, *_ in dataset.skipped}
    assert set(by_file) == {('broken.png', None), ('bad.txt', 1), ('bad.txt', 3)}
    assert 'class id 7' in by_file['bad.txt', 3] and '0 to 2' in by_file['bad.txt', 3]


def test_too_many_bad_lines_are_an_error(tmp_path):
    labels = {name: '0 0.5 0.5 0.2 0.4\n0 0.5' for name in 'xyz'}
    with pytest.raises(DataError, match=r'3 of 9 .* max_skipped=0.01') as error:
        load(write_yolo(tmp_path, labels))
    assert all(f'{name}.txt' in str(error.value) for name in 'xyz')
    assert len(load(tmp_path, max_skipped=0.5).skipped) == 3


def test_duplicates_are_no_skips(tmp_path):
    dataset = load(write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4\n' * 3}), test_mode=True)
    assert len(dataset.records[0].annotations) == 1 and dataset.skipped == []
    assert [(os.path.basename(skip.path), skip.where) for skip in dataset.unused] == [('one.txt', 2), ('one.txt', 3)]
    (line,) = skip_lines(dataset.unused)
    assert line.startswith('2 × the same as an earlier line') and line.endswith('one.txt:2')


@pytest.mark.parametrize('make', [False, True])
def test_missing_and_empty_folder(tmp_path, make):
    if make:
        (tmp_path / 'images/train').mkdir(parents=True)
    with pytest.raises(DataError, match=r'images/train.*(holds no image|does not exist).*images \(relative'):
        load(tmp_path)


def test_files_that_are_no_list_or_no_label(tmp_path):
    write_yolo(tmp_path, {'one': None})
    with pytest.raises(DataError, match='one.png.* is an image; give its folder'):
        load(tmp_path, images='images/train/one.png')
    (tmp_path / 'list.bin').write_bytes((tmp_path / 'images/train/one.png').read_bytes())
    with pytest.raises(DataError, match='no UTF-8 text'):
        load(tmp_path, images='list.bin')
    (tmp_path / 'list.txt').write_text('\n')
    with pytest.raises(DataError, match='names no image'):
        load(tmp_path, images='list.txt')
    (tmp_path / 'labels/train/one.txt').mkdir()
    with pytest.raises(DataError, match='no image: 1 skipped.*one.txt.*no regular file'):
        load(tmp_path)
    write_yolo(tmp_path, {'two': '0 0.5 0.5 0.2 0.4'})
    dataset = load(tmp_path)  # without its labels the other image would pass for background
    assert [record.img_id for record in dataset.records] == ['two'] and len(dataset.skipped) == 1


def test_no_labels_at_all_is_a_wrong_path(tmp_path):
    write_image(tmp_path / 'images/train/one.png', 20, 10)
    with pytest.raises(DataError, match='no label file was found for any of the 1 images.*labels/train'):
        load(tmp_path)
    (tmp_path / 'labels/train').mkdir(parents=True)
    assert len(load(tmp_path).records) == 1


def test_no_class_names(tmp_path):
    with pytest.raises(DataError, match='metainfo'):
        load(write_yolo(tmp_path, {'one': ''}), metainfo=None)


def test_single_class_takes_any_class_id(tmp_path):
    dataset = load(write_yolo(tmp_path, {'one': '5 0.5 0.5 0.2 0.4'}), single_class=True)
    assert dataset.metainfo['classes'] == ('object',) and dataset.records[0].annotations.labels.tolist() == [0]


class TestDataYaml:
    def make(self, tmp_path, text):
        root = write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4'}, 'train')
        write_yolo(root, {'two': '1 0.5 0.5 0.2 0.4'}, 'more')
        (root / 'data.yaml').write_text(text)
        return str(root / 'data.yaml')

    @pytest.mark.parametrize('names', ['[a, b]', '{0: a, 1: b}', '{1: b, 0: a}', '\n  - a\n  - b\nnc: 2'])
    @pytest.mark.parametrize('train', ['images/train', '[images/train]', './images/train', '../images/train'])
    def test_names_and_folders(self, tmp_path, names, train):
        dataset = YoloTxtDataset(data_yaml=self.make(tmp_path, f'path: .\ntrain: {train}\nnames: {names}'))
        assert dataset.metainfo['classes'] == ('a', 'b') and [r.img_id for r in dataset.records] == ['one']

    def test_path_that_is_not_there_means_the_yamls_folder(self, tmp_path):
        file = self.make(tmp_path, 'path: ../datasets/gone\ntrain: [images/train, images/more]\nnames: [a, b]')
        assert len(YoloTxtDataset(data_yaml=file)) == 2

    def test_data_root_takes_the_place_of_path(self, tmp_path):
        self.make(tmp_path / 'set', '')
        (tmp_path / 'd.yaml').write_text('path: /gone\nval: images/more\nnames: [a, b]')
        dataset = YoloTxtDataset(data_yaml=str(tmp_path / 'd.yaml'), data_root=str(tmp_path / 'set'), split='val')
        assert [record.img_id for record in dataset.records] == ['two']

    def test_yaml_inside_data_root(self, tmp_path):
        self.make(tmp_path, 'train: images/train\nnames: [a, b]')
        assert len(YoloTxtDataset(data_yaml='data.yaml', data_root=str(tmp_path))) == 1

    def test_an_image_is_read_once_however_it_is_named(self, tmp_path):
        file = self.make(tmp_path, 'train: [train.txt, images/train]\nnames: [a, b]')
        (tmp_path / 'train.txt').write_text('images/train/one.png\n./images/train/one.png\nimages//train/./one.png\n')
        dataset = YoloTxtDataset(data_yaml=file)
        assert [record.img_id for record in dataset.records] == ['one']
        assert [(skip.reason, skip.count) for skip in dataset.unused[:3]] == [('an image that is listed again', 1)] * 3

    def test_image_list(self, tmp_path):
        file = self.make(tmp_path, 'train: lists/train.txt\nnames: [a, b]')
        (tmp_path / 'lists').mkdir()
        lines = ['images/train/one.png', '', str(tmp_path / 'images/more/two.png'), './images/train/gone.png']
        (tmp_path / 'lists/train.txt').write_text('\n'.join(lines))
        dataset = YoloTxtDataset(data_yaml=file)
        assert [record.img_id for record in dataset.records] == ['one', 'two']
        assert dataset.skipped[0][0] == str(tmp_path / 'lists/images/train/gone.png')

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('train: images/train\nnames: {0: a, 2: b}', 'keys'),
            ('train: images/train\nnames: [a, b]\nnc: 3', 'nc: 3'),
            ('trian: images/train\nnames: [a, b]', "no key 'train'"),
            ('[1', 'no valid YAML'),
            ('just text', 'mapping'),
            ('train: images/gone\nnames: [a]', 'data.yaml.* says train: images/gone, but in .* no such folder'),
        ],
    )
    def test_mistakes(self, tmp_path, text, message):
        with pytest.raises(DataError, match=f'(?s){message}'):
            YoloTxtDataset(data_yaml=self.make(tmp_path, text))

    def test_names_given_twice_must_agree(self, tmp_path):
        file = self.make(tmp_path, 'train: images/train\nnames: [a, b]')
        with pytest.raises(DataError, match='names 2 classes'):
            YoloTxtDataset(data_yaml=file, metainfo={'classes': ('b', 'a')})

    def test_missing_yaml(self):
        with pytest.raises(DataError, match='data_yaml'):
            YoloTxtDataset(data_yaml='gone.yaml')


def as_coco(dataset, folder) -> dict:
    """The COCO json that says the same as a YOLO dataset."""
    images, annotations = [], []
    for number, record in enumerate(dataset.records):
        name = os.path.relpath(record.img_path, folder)
        images.append({'id': number, 'file_name': name, 'height': record.ori_shape[0], 'width': record.ori_shape[1]})
        own = record.annotations
        starts = np.cumsum(own.polygons.ring_sizes) - own.polygons.ring_sizes
        for i, (x0, y0, x1, y1) in enumerate(own.bboxes.tolist()):
            rings = [
                own.polygons.points[start : start + size].ravel().tolist()
                for start, size, owner in zip(starts, own.polygons.ring_sizes, own.polygons.ring_owners, strict=True)
                if owner == i
            ]
            annotations.append(
                {
                    'id': len(annotations),
                    'image_id': number,
                    'category_id': 10 * int(own.labels[i]),
                    'bbox': [x0, y0, x1 - x0, y1 - y0],
                    'segmentation': rings,
                    'iscrowd': 0,
                }
            )
    categories = [{'id': 10 * label, 'name': name} for label, name in enumerate(dataset.metainfo['classes'])]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def assert_same_records(left, right):
    for one, other in zip(left.records, right.records, strict=True):
        assert os.path.samefile(one.img_path, other.img_path) and one.ori_shape == other.ori_shape
        a, b = one.annotations, other.annotations
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_array_equal(a.ignored, b.ignored)
        np.testing.assert_allclose(a.bboxes, b.bboxes, atol=1e-4)
        np.testing.assert_allclose(a.areas, b.areas, rtol=1e-4)
        np.testing.assert_array_equal(a.polygons.ring_sizes, b.polygons.ring_sizes)
        np.testing.assert_array_equal(a.polygons.ring_owners, b.polygons.ring_owners)
        np.testing.assert_allclose(a.polygons.points, b.polygons.points, atol=1e-4)
        assert a.rles is b.rles is None


def test_coco_json_gives_the_same_records(tmp_path):
    text = '1 0.5 0.5 0.2 0.4\n2 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n0 0.25 0.25 0.1 0.1'
    yolo = load(write_yolo(tmp_path, {'one': text, 'two': None, 'three': text[:18]}))
    (tmp_path / 'instances.json').write_text(json.dumps(as_coco(yolo, tmp_path)))
    coco = CocoDataset('instances.json', data_root=str(tmp_path), metainfo=CLASSES)
    assert_same_records(yolo, coco)


@pytest.mark.realdata
def test_real_labels(real_data, tmp_path):
    yolo = YoloTxtDataset(images='images/val', data_root=str(real_data / 'coco8-seg'), metainfo={'classes': COCO80})
    assert len(yolo) == 4 and yolo.skipped == []
    for record in yolo.records:
        with Image.open(record.img_path) as image:
            assert record.ori_shape == image.size[::-1]
        own = record.annotations
        assert len(own.polygons.ring_sizes) == len(own) > 0
        assert (own.areas <= (own.bboxes[:, 2:] - own.bboxes[:, :2]).prod(1) * 1.001).all()
    file = tmp_path / 'instances.json'
    file.write_text(json.dumps(as_coco(yolo, real_data)))
    coco = CocoDataset(str(file), str(Path(real_data)), metainfo={'classes': COCO80})
    assert_same_records(yolo, coco)


@pytest.mark.realdata
def test_corners_outside_the_image(real_data):
    names = {'classes': tuple(f'class {i}' for i in range(16))}
    dataset = YoloTxtDataset(images=str(real_data / 'dota8/images/train'), metainfo=names, max_skipped=1.0)
    assert len(dataset) == 4 and dataset.skipped == []
    for record in dataset.records:
        h, w = record.ori_shape
        assert ((record.annotations.polygons.points >= 0) & (record.annotations.polygons.points <= (w, h))).all()
