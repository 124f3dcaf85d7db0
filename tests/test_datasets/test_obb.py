"""Rotated boxes from YOLO and DOTA label files, through the pipeline, and tiles of large images."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from format_helpers import write_image, write_yolo
from scene_helpers import annotations_of, paint, run, sample_of

from detkit.datasets import DotaDataset, YoloTxtDataset
from detkit.datasets.class_names import DOTA15
from detkit.datasets.collate import collate
from detkit.datasets.dota_tiling import cut_labels, tile_dota
from detkit.datasets.formats.dota import parse_dota_labels, read_dota_labels
from detkit.datasets.transforms import CopyPaste, LetterBox, Mosaic, PackInputs, RandomAffine, RandomFlip, Render
from detkit.structures import Annotations, Record, Scene
from detkit.structures.rotated_bboxes import corners_to_rbboxes, rbbox_corners, rbbox_hulls
from detkit.utils.errors import ConfigError, DataError

CLASSES = {'classes': ('a', 'b', 'c')}
# Of an image of 20 x 10: upright 8 x 4; turned by 45 degrees; reaching out at the right.
UPRIGHT, TURNED, OUT = '.1 .2 .5 .2 .5 .6 .1 .6', '.5 .2 .7 .6 .6 .8 .4 .4', '.8 .5 1.2 .5 1.2 .9 .8 .9'


def load(root, **options) -> YoloTxtDataset:
    return YoloTxtDataset(images='images/train', data_root=str(root), labels='obb', metainfo=CLASSES, **options)


# -- YOLO's label files ---------------------------------------------------------------------------------------------


def test_yolo_records(tmp_path):
    dataset = load(write_yolo(tmp_path, {'none': None, 'empty': '', 'one': f'1 {UPRIGHT}\n0 {TURNED}\n2 {OUT}\n'}))
    assert dataset.skipped == []
    for record in dataset.records[:2]:
        assert len(record.annotations) == 0 and record.annotations.rbboxes.shape == (0, 5)
    own = dataset.records[2].annotations
    assert own.labels.tolist() == [1, 0, 2] and own.polygons is None and not own.ignored.any()
    assert own.rbboxes[0] == pytest.approx([6, 4, 8, 4, 0], abs=1e-4)
    assert own.rbboxes[1] == pytest.approx([11, 5, 4 * 2**0.5, 2 * 2**0.5, np.pi / 4], abs=1e-4)
    assert own.areas == pytest.approx([32, 16, 32], rel=1e-4)
    # What lies outside stays part of the rotated box; the upright one ends with the image.
    assert own.rbboxes[2] == pytest.approx([20, 7, 8, 4, 0], abs=1e-4)
    assert own.bboxes[2] == pytest.approx([16, 5, 20, 9], abs=1e-4)


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('1 0.5 0.5 0.2 0.4', '5 values, where a class and four corners have 9'),
        ('1 .1 .2 .5 .2 .5 .6', '7 values'),
        ('1 .1 .2 .5 .2 .5 .6 .1 .6 .3 .3', '11 values'),
        ('1 .1 .2 .5 .2 .5 .6 .1 x', 'no number'),
        ('3 .1 .2 .5 .2 .5 .6 .1 .6', 'class id 3'),
        ('1 .1 .2 .2 .3 .3 .4 .4 .5', 'without an area'),
        ('1 1.1 .2 1.5 .2 1.5 .6 1.1 .6', 'outside the image'),
        ('1 100 200 500 200 500 600 100 600', 'outside the image'),
    ],
)
def test_a_line_that_is_no_quadrilateral_is_a_recorded_skip(tmp_path, line, reason):
    dataset = load(write_yolo(tmp_path, {'one': f'0 {UPRIGHT}\n{line}\n1 {TURNED}\n'}), max_skipped=0.5)
    ((file, number, found, *_),) = dataset.skipped
    assert os.path.basename(file) == 'one.txt' and number == 2 and reason in found
    assert dataset.records[0].annotations.labels.tolist() == [0, 1]


def test_repeated_lines_count_once(tmp_path):
    dataset = load(write_yolo(tmp_path, {'one': f'0 {UPRIGHT}\n0 {UPRIGHT}\n1 {UPRIGHT}\n'}))
    assert dataset.skipped == [] and dataset.unused[0].where == 2
    assert dataset.records[0].annotations.labels.tolist() == [0, 1]


def test_unknown_kind_of_labels(tmp_path):
    with pytest.raises(ConfigError, match="'obb'"):
        YoloTxtDataset(images='images/train', data_root=str(tmp_path), labels='oob', metainfo=CLASSES)


@pytest.mark.realdata
@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_object_of_dota8_survives(real_data, split):
    root = real_data / 'dota8'
    if not root.is_dir():
        pytest.skip('no dota8')
    dataset = YoloTxtDataset(
        images=f'images/{split}',
        data_root=str(root),
        labels='obb',
        metainfo={'classes': DOTA15},
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LetterBox', size=640),
            dict(type='Render'),
            dict(type='PackInputs'),
        ],
        test_mode=True,
    )
    assert dataset.skipped == []
    outside = 0
    for record, sample in zip(dataset.records, (dataset[i] for i in range(len(dataset))), strict=True):
        text = Path(record.img_path.replace('images', 'labels')).with_suffix('.txt').read_text()
        quads = np.array([[float(v) for v in line.split()[1:]] for line in text.splitlines()]).reshape(-1, 4, 2) * 1024
        assert len(record.annotations) == len(quads)
        assert record.annotations.rbboxes == pytest.approx(corners_to_rbboxes(quads), abs=0.05)
        beyond = ((quads < 0) | (quads > 1024)).any((1, 2))
        outside += int(beyond.sum())
        # In the rendered sample they are cut to the image; an object goes when next to nothing of it is left.
        seen = np.prod(record.annotations.bboxes[:, 2:] - record.annotations.bboxes[:, :2], 1)
        assert len(sample['annotations']) >= (seen > 40).sum()
        assert np.abs(rbbox_hulls(sample['annotations'].rbboxes).clip(0, 640) - sample['annotations'].bboxes).max() < 40
    assert outside == (16 if split == 'train' else 1)


# -- DOTA's label files ---------------------------------------------------------------------------------------------


def dota_line(x: float, y: float, name: str, difficult: object = 0) -> str:
    return f'{x} {y} {x + 8} {y} {x + 8} {y + 4} {x} {y + 4} {name} {difficult}'


def write_dota(root: Path, labels: dict[str, str | None], size_wh: tuple[int, int] = (40, 30)) -> Path:
    (root / 'labelTxt').mkdir(parents=True)
    for stem, text in labels.items():
        write_image(root / 'images' / f'{stem}.png', *size_wh)
        if text is not None:
            (root / 'labelTxt' / f'{stem}.txt').write_text(text)
    return root


def test_dota_images_of_one_name_have_ids_of_their_own(tmp_path):
    root = write_dota(tmp_path, {'P1': dota_line(1, 2, 'ship')})
    (image,) = (root / 'images').iterdir()
    (root / 'images' / 'more').mkdir()
    shutil.copy(image, root / 'images' / 'more' / image.name)
    dataset = DotaDataset(data_root=str(root), metainfo={'classes': ('ship',)})
    assert sorted(record.img_id for record in dataset.records) == [image.name, f'more/{image.name}']


def test_dota_records(tmp_path):
    text = '\n'.join(
        [
            'imagesource:GoogleEarth',
            'gsd:0.146343590398',
            dota_line(1, 2, 'plane'),
            dota_line(5, 9, 'storage-tank', 1),
            '',
            dota_line(36, 9, 'ship', 2),
            dota_line(9, 9, 'helipad'),
        ]
    )
    root = write_dota(tmp_path / 'd', {'P1': text, 'P2': '', 'P3': None})
    dataset = DotaDataset(data_root=str(root), metainfo={'classes': ('ship', 'plane', 'storage tank')})
    assert dataset.skipped == [] and [record.img_id for record in dataset.records] == ['P1', 'P2', 'P3']
    own = dataset.records[0].annotations
    assert own.labels.tolist() == [1, 2, 0]  # the helipad was not asked for
    assert own.ignored.tolist() == [False, True, True]
    assert own.rbboxes[0] == pytest.approx([5, 4, 8, 4, 0]) and own.areas.tolist() == [32] * 3
    assert own.bboxes[2] == pytest.approx([36, 9, 40, 13]) and own.rbboxes[2, 0] == pytest.approx(40)
    assert all(record.annotations.rbboxes.shape == (0, 5) for record in dataset.records[1:])
    one = DotaDataset(data_root=str(root), metainfo={'classes': ('ship', 'plane')}, single_class=True)
    assert one.records[0].annotations.labels.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('1 2 9 2 9 6 1 6', '8 values'),
        ('1 2 9 2 9 6 1 6 plane 0 0', '11 values'),
        ('1 2 9 2 9 6 1 x plane 0', 'no number'),
        ('1 2 9 2 9 6 1 1_0 plane 0', 'no number'),
        ('1 2 9 2 9 6 1 nan plane 0', 'finite'),
        ('1 2 9 2 9 6 1 6 plane 7', 'difficult'),
        ('1 2 9 2 9 6 1 6 airplane 0', "'airplane', which DOTA does not have"),
        ('1 2 2 3 3 4 4 5 plane 0', 'without an area'),
        (dota_line(100, 100, 'plane'), 'outside the image'),
    ],
)
def test_dota_lines_that_break_a_rule_are_recorded_skips(tmp_path, line, reason):
    root = write_dota(tmp_path / 'd', {'P1': f'gsd:1\n{line}\n{dota_line(1, 2, "ship")}\n'})
    dataset = DotaDataset(data_root=str(root), metainfo={'classes': DOTA15}, max_skipped=0.5)
    ((file, number, found, *_),) = dataset.skipped
    assert os.path.basename(file) == 'P1.txt' and number == 2 and reason in found
    assert dataset.records[0].annotations.labels.tolist() == [1]


def test_dota_names_of_ones_own_and_missing_difficult():
    found = parse_dota_labels('1 2 9 2 9 6 1 6 pump_jack\n', known=('pump jack',))
    assert found.names == ['pump jack'] and not found.difficult.any() and found.skipped == []


def test_dota_classes_that_are_one_are_refused(tmp_path):
    root = write_dota(tmp_path, {'a': dota_line(2, 2, 'big-car') + '\n'})
    with pytest.raises(ConfigError, match="names 'big-car' and 'Big_car', which are one class in DOTA"):
        DotaDataset(data_root=str(root), metainfo=dict(classes=['big-car', 'Big_car']))


def test_dota_folders_that_are_missing(tmp_path):
    root = write_dota(tmp_path / 'd', {'P1': None})
    with pytest.raises(DataError, match='labels'):
        DotaDataset(data_root=str(root), metainfo={'classes': DOTA15})
    with pytest.raises(DataError, match='Correct images'):
        DotaDataset(data_root=str(root), images='pictures', metainfo={'classes': DOTA15})
    with pytest.raises(DataError, match='metainfo'):
        DotaDataset(data_root=str(root))
    assert len(DotaDataset(data_root=str(root), labels=None, metainfo={'classes': DOTA15})) == 1


# -- the pipeline ---------------------------------------------------------------------------------------------------

BOXES = np.array([[40, 40, 44, 16, 0.5], [110, 30, 30, 20, 2.0], [90, 90, 50, 12, -0.4]], np.float32)


def boxes_scene(height: int = 120, width: int = 160) -> Scene:
    """Green rectangles on black."""
    corners = rbbox_corners(BOXES)
    return Scene.of_image(paint(height, width, corners), Annotations(np.arange(3), rbbox_hulls(BOXES), rbboxes=BOXES))


def painted_rectangles(img: np.ndarray) -> list[np.ndarray]:
    """The least rectangles around what is green, as rotated boxes."""
    _, components = cv2.connectedComponents((img[..., 1] > 127).astype(np.uint8))
    found = []
    for number in range(1, components.max() + 1):
        ys, xs = np.nonzero(components == number)
        if len(xs) > 20:
            corners = np.stack([xs, ys], 1)[:, None] + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
            hull = cv2.convexHull(corners.reshape(-1, 2).astype(np.int32))[:, 0]
            found.append(corners_to_rbboxes(hull[None])[0])
    return found


@pytest.mark.parametrize(
    'transforms',
    [
        [],
        [LetterBox(320)],
        [RandomFlip(1.0), RandomFlip(1.0, 'vertical')],
        [RandomAffine(size=200, degrees=180, scale=0.2)],
    ],
    ids=['none', 'letterbox', 'flips', 'affine'],
)
def test_boxes_follow_the_pixels(transforms):
    for seed in range(3):
        results = sample_of(boxes_scene(), seed)
        for transform in [*transforms, Render(fill=0)]:
            results = transform(results)
        own = results.annotations
        painted = painted_rectangles(results.img)
        assert len(own) == len(painted) > 0
        for rbbox in own.rbboxes:
            nearest = min(painted, key=lambda other: np.linalg.norm(other[:2] - rbbox[:2]))
            scale = max(results.img.shape[:2]) / 160
            assert np.abs(nearest[:4] - rbbox[:4]).max() < 2.5 * scale
            assert abs(np.sin(nearest[4] - rbbox[4])) < 0.12
        assert np.allclose(rbbox_hulls(own.rbboxes).clip(0, max(results.img.shape)), own.bboxes, atol=25)


def test_what_a_crop_leaves_is_enclosed_anew():
    box = np.array([[50, 50, 40, 20, 0.0]], np.float32)
    scene = Scene.of_image(
        np.zeros((100, 100, 3), np.uint8), Annotations(np.zeros(1, np.int64), rbbox_hulls(box), rbboxes=box)
    ).cropped((0, 0, 60, 100))
    own = Render()(sample_of(scene)).annotations
    assert own.rbboxes[0] == pytest.approx([45, 50, 30, 20, 0], abs=1e-4)
    assert own.bboxes[0] == pytest.approx([30, 40, 60, 60], abs=1e-4)


def test_shear_encloses_the_moved_corners():
    matrix = np.array([[1, 0.3, 0], [0, 1, 0], [0, 0, 1.0]])
    own = Render()(sample_of(boxes_scene().moved(matrix, (120, 220)))).annotations
    moved = rbbox_corners(BOXES) @ matrix[:2, :2].T
    assert own.rbboxes == pytest.approx(corners_to_rbboxes(moved), abs=1e-3)


def test_mosaic_keeps_boxes_inside():
    results = sample_of(boxes_scene(), 3)
    for transform in (Mosaic(160), RandomAffine(size=160, degrees=30), Render(fill=0)):
        results = run(transform, results, [boxes_scene()] * 3)
    own = results.annotations
    assert len(own) > 2
    assert (own.rbboxes[:, :2] > 0).all() and (own.rbboxes[:, :2] < 160).all() and (own.rbboxes[:, 2:4] > 0).all()


def test_pasted_copies_are_mirrored():
    results = CopyPaste(1.0, max_covered=1.0)(sample_of(boxes_scene()))
    own = Render(fill=0)(results).annotations
    assert len(own) == 6
    mirrored = corners_to_rbboxes(rbbox_corners(BOXES) * [-1, 1] + [160, 0])
    for rbbox in mirrored:
        assert np.abs(own.rbboxes - rbbox).max(1).min() < 1e-3


def test_ignored_objects_are_for_metrics_only():
    annotations = Annotations(np.arange(3), rbbox_hulls(BOXES), np.array([False, True, False]), rbboxes=BOXES)
    record = Record('x.png', 'x', (120, 160), annotations)
    results = sample_of(
        Scene.of_image(np.zeros((120, 160, 3), np.uint8), annotations),
        record=record,
        ori_shape=(120, 160),
        test_mode=True,
    )
    packed = PackInputs()(Render()(results))
    batch = collate([packed])
    assert batch['gt'].rbboxes.shape == (1, 2, 5) and batch['gt'].labels.tolist() == [[0, 2]]
    truth = batch['data_samples'][0].gt_instances
    assert truth.rbboxes == pytest.approx(BOXES) and truth.ignored.tolist() == [False, True, False]


def test_a_batch_of_images_without_objects():
    empty = Annotations(rbboxes=np.zeros((0, 5), np.float32))
    packed = []
    for annotations in (empty, Annotations()):
        record = Record('x.png', 'x', (8, 8), annotations)
        results = sample_of(Scene.of_image(np.zeros((8, 8, 3), np.uint8), annotations), record=record, ori_shape=(8, 8))
        packed.append(PackInputs()(Render()(results)))
    assert collate(packed)['gt'].rbboxes.shape == (2, 0, 5)


def test_outlines_are_as_before():
    ring = np.array([[10, 10], [60, 20], [40, 60]], np.float32)
    own = Render()(sample_of(Scene.of_image(np.zeros((80, 80, 3), np.uint8), annotations_of([ring])))).annotations
    assert own.rbboxes is None and own.bboxes[0] == pytest.approx([10, 10, 60, 60])


# -- tiles ----------------------------------------------------------------------------------------------------------


def test_objects_that_a_tile_cuts():
    labels = parse_dota_labels(
        '\n'.join(
            [
                dota_line(10, 10, 'plane'),
                dota_line(95, 10, 'ship', 1),
                dota_line(97, 20, 'storage-tank'),
                dota_line(93, 30, 'harbor'),
                dota_line(200, 200, 'ship'),
            ]
        )
    )
    lines, cut = cut_labels(labels, (0, 0, 100, 100), 0.7)
    assert [line.split()[8:] for line in lines] == [
        ['plane', '0'],
        ['ship', '1'],
        ['storage-tank', '2'],
        ['harbor', '0'],
    ]
    assert cut == 1 and lines[3].split()[:8] == '93.0 30.0 101.0 30.0 101.0 34.0 93.0 34.0'.split()


def test_tiles_of_a_folder(tmp_path):
    root = write_dota(tmp_path / 'big', {'P1': dota_line(100, 70, 'ship'), 'P2': 'nonsense\n'}, (150, 90))
    (root / 'images' / 'P3.png').write_bytes(b'no image')
    report = tile_dota(root, tmp_path / 'tiles', size=64, overlap=0.25)
    assert (report.images, report.tiles, report.cut) == (2, 12, 0)
    assert len(report.skipped) == 2
    dataset = DotaDataset(data_root=str(tmp_path / 'tiles'), metainfo={'classes': DOTA15})
    assert len(dataset) == 12 and dataset.records[0].ori_shape == (64, 64)
    by_id = {record.img_id: record.annotations for record in dataset.records}
    assert by_id['P1__64__86___26'].rbboxes[0] == pytest.approx([18, 46, 8, 4, 0])
    places = {name for name, own in by_id.items() if len(own)}
    assert places == {'P1__64__48___26', 'P1__64__86___26'}
    with pytest.raises(DataError, match='holds files already'):
        tile_dota(root, tmp_path / 'tiles', size=64)
    few = tile_dota(root, tmp_path / 'few', size=[64, 90], overlap=0.25, keep_empty=False, image_format='png')
    assert few.tiles == 3 and any((tmp_path / 'few/images').glob('P1__90__60___0.png'))
    assert read_dota_labels(next((tmp_path / 'few/labelTxt').iterdir())).skipped == []


@pytest.mark.parametrize(
    'wrong',
    [
        dict(size=8),
        dict(overlap=1.0),
        dict(image_format='gif'),
        dict(size=[]),
        dict(num_threads=0),
        dict(min_visible=70),
    ],
    ids=str,
)
def test_tiles_that_cannot_be(tmp_path, wrong):
    with pytest.raises(ConfigError):
        tile_dota(tmp_path, tmp_path / 'tiles', **wrong)


def test_a_test_set_has_no_labels(tmp_path):
    write_image(tmp_path / 'test/images/P1.png', 80, 40)
    report = tile_dota(tmp_path / 'test', tmp_path / 'tiles', size=64)
    assert report.tiles == 2 and not (tmp_path / 'tiles/labelTxt').exists()


@pytest.mark.parametrize('folder', ['labels', 'labelTxt-v1.0/labelTxt'])
def test_labels_in_another_folder_are_not_lost(tmp_path, folder):
    root = write_dota(tmp_path / 'big', {'P1': dota_line(100, 70, 'ship')}, (150, 90))
    (root / folder).parent.mkdir(exist_ok=True)
    (root / 'labelTxt').rename(root / folder)
    with pytest.raises(
        DataError, match=f"has no folder 'labelTxt', but label files of its images in '{folder}': .*--labels"
    ):
        tile_dota(root, tmp_path / 'tiles', size=64)
    assert not (tmp_path / 'tiles').exists()
    assert tile_dota(root, tmp_path / 'tiles', size=64, labels=folder).objects > 0
