"""The backends of COCO's evaluation give pycocotools' results."""

import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detkit.evaluation import coco_backends
from detkit.evaluation.coco_backends import BACKENDS, CocoComparison, choose_backend, evaluate_coco
from detkit.evaluation.instance_columns import InstanceColumns
from detkit.structures.keypoints import default_sigmas
from detkit.utils.errors import ConfigError, MissingPackageError

OTHERS = [name for name in BACKENDS if name != 'pycocotools']
SHAPES = ((96, 128), (140, 120), (200, 150), (96, 96))
# The least difference of two quotients of counts is far above; faster-coco-eval divides without pycocotools' epsilon.
TOLERANCES = {'hotcoco': 0, 'faster-coco-eval': 1e-12}


def draw_comparison(seed: int, iou_type: str, **options) -> CocoComparison:
    """Random objects and predictions near them, with crowds, empty images, equal scores and equal overlaps.

    Coordinates are multiples of 4, so that overlaps lie at the thresholds and areas at their limits too.
    """
    rng = np.random.default_rng(seed)
    num_images, num_classes = options.pop('num_images', 10), options.pop('num_classes', 3)
    shapes = [SHAPES[number % len(SHAPES)] for number in range(num_images)]
    # Every third image has no objects, every fourth no predictions.
    objects = [int(rng.integers(1, 9)) if number % 3 else 0 for number in range(num_images)]
    truth = draw_columns(rng, shapes, objects, num_classes, iou_type)
    found = draw_columns(rng, shapes, [int(rng.integers(1, 40)) for _ in shapes], num_classes, iou_type, truth)
    sigmas = np.array(default_sigmas(5)) if iou_type == 'keypoints' else None
    max_dets = options.pop('max_dets', [20] if iou_type == 'keypoints' else [1, 4, 10])
    return CocoComparison(truth, found, shapes, num_classes, iou_type, max_dets, sigmas=sigmas, **options)


def draw_columns(rng, shapes, counts, num_classes, iou_type, near: InstanceColumns | None = None) -> InstanceColumns:
    counts = [count if near is None or number % 4 != 1 else 0 for number, count in enumerate(counts)]
    images = np.repeat(np.arange(len(shapes)), counts)
    wh_images = np.array(shapes)[images][:, ::-1]
    sizes = np.minimum(4 * rng.integers(1, 28, (len(images), 2)), wh_images)
    corners = (rng.random((len(images), 2)) * (wh_images - sizes) // 4) * 4
    bboxes, labels = np.concatenate([corners, sizes], 1).astype(np.float64), rng.integers(num_classes, size=len(images))
    scores = None
    if near is not None:
        for row, image in enumerate(images):  # half of them are copies of an object, some of which are moved
            own = np.flatnonzero(near.images == image)
            if len(own) and rng.random() < 0.5:
                chosen = rng.choice(own)
                bboxes[row], labels[row] = near.bboxes_xywh[chosen], near.labels[chosen]
                bboxes[row, :2] += 4 * rng.integers(-1, 2, 2) * (rng.random() < 0.6)
                bboxes[row, :2] = np.clip(bboxes[row, :2], 0, wh_images[row] - bboxes[row, 2:])
        scores = np.round(rng.random(len(images)), 1)
    areas = bboxes[:, 2] * bboxes[:, 3]
    masks = [draw_mask(rng, shapes[image], bbox) for image, bbox in zip(images, bboxes, strict=True)]
    if iou_type == 'segm':
        areas = np.array([coco_mask.area(rle) for rle in masks], np.float64)
    elif near is None:
        areas *= rng.choice([1, 0.7], len(images))
    keypoints = bboxes[:, None, :2] + rng.random((len(images), 5, 2)) * bboxes[:, None, 2:]
    visible = rng.integers(0, 3, (len(images), 5, 1)) * (rng.random((len(images), 1, 1)) < 0.8)
    return InstanceColumns(
        images,
        labels,
        bboxes,
        areas,
        ignored=(rng.random(len(images)) < 0.15) & (near is None),
        scores=scores,
        masks=masks if iou_type == 'segm' else None,
        keypoints=np.concatenate([keypoints, visible], 2) if iou_type == 'keypoints' else None,
    )


def draw_mask(rng: np.random.Generator, shape: tuple[int, int], bbox: np.ndarray) -> dict:
    frame = np.zeros(shape, np.uint8, 'F')
    x, y, w, h = bbox.astype(int)
    frame[y : y + h, x : x + w] = rng.random((h, w)) < 0.9
    return coco_mask.encode(frame)


def without(columns: InstanceColumns) -> InstanceColumns:
    values = {key: None if value is None else value[:0] for key, value in vars(columns).items()}
    return InstanceColumns(**values)


def assert_equal_curves(name: str, comparison: CocoComparison) -> None:
    ours, theirs = evaluate_coco('pycocotools', comparison), evaluate_coco(name, comparison)
    assert ours.precision.shape == theirs.precision.shape and ours.recall.shape == theirs.recall.shape
    for key in ('precision', 'recall', 'iou_thrs'):
        np.testing.assert_allclose(getattr(theirs, key), getattr(ours, key), atol=TOLERANCES[name], rtol=0, err_msg=key)


@pytest.fixture(params=OTHERS)
def backend(request) -> str:
    pytest.importorskip(BACKENDS[request.param].module)
    return request.param


@pytest.mark.parametrize('iou_type', ['bbox', 'segm', 'keypoints'])
@pytest.mark.parametrize('seed', range(4))
def test_equal_to_pycocotools(backend, iou_type, seed):
    comparison = draw_comparison(seed, iou_type)
    assert_equal_curves(backend, comparison)
    precision = evaluate_coco(backend, comparison).precision
    assert 0 < precision[precision > -1].mean() < 1  # the comparison is of something


@pytest.mark.parametrize(
    'options',
    [
        dict(by_class=False),
        dict(max_dets=[2]),
        dict(max_dets=[1, 3, 5, 7, 300]),
        dict(num_classes=1),
        dict(num_classes=400, num_images=6),
        dict(num_images=1),
    ],
    ids=str,
)
def test_equal_with_other_options(backend, options):
    assert_equal_curves(backend, draw_comparison(5, 'bbox', **options))


@pytest.mark.parametrize('iou_type', ['bbox', 'segm', 'keypoints'])
@pytest.mark.parametrize('empty', ['truth', 'found', 'both'])
def test_equal_without_objects_or_predictions(backend, iou_type, empty):
    comparison = vars(draw_comparison(6, iou_type))
    for side in ('truth', 'found'):
        if empty in (side, 'both'):
            comparison[side] = without(comparison[side])
    assert_equal_curves(backend, CocoComparison(**comparison))


def test_equal_with_boxes_of_no_area_and_outside_of_the_image(backend):
    comparison = draw_comparison(7, 'bbox')
    for columns in (comparison.truth, comparison.found):
        columns.bboxes_xywh[::5, 2:] = 0
        columns.bboxes_xywh[1::5, :2] -= 300.25
        columns.areas[::5] = 0
    assert_equal_curves(backend, comparison)


def test_the_fastest_installed_backend_is_chosen(monkeypatch):
    installed = set(BACKENDS)
    find = coco_backends.importlib.util.find_spec
    monkeypatch.setattr(
        coco_backends.importlib.util,
        'find_spec',
        lambda name: find('json') if name in {BACKENDS[each].module for each in installed} else None,
    )
    versions = {'hotcoco': '1.3.0', 'faster-coco-eval': '1.10.2'}

    def imported(name: str) -> None:
        if name in broken:
            raise ImportError('built for another NumPy\nand more')

    monkeypatch.setattr(coco_backends, '_release', versions.__getitem__)
    broken = []
    monkeypatch.setattr(coco_backends, 'importlib', SimpleNamespace(util=importlib.util, import_module=imported))
    assert choose_backend('auto') == 'hotcoco'
    broken.append('hotcoco')
    assert choose_backend('auto') == 'faster-coco-eval'
    with pytest.raises(MissingPackageError, match=r"'hotcoco', which cannot be imported \(built for another NumPy\);"):
        choose_backend('hotcoco')
    broken.clear()
    versions['hotcoco'] = '1.2.9'
    assert choose_backend('auto') == 'faster-coco-eval'
    with pytest.raises(
        MissingPackageError, match=r"'hotcoco', whose release 1\.2\.9 is older than 1\.3; .*detkit\[eval"
    ):
        choose_backend('hotcoco')
    installed -= {'hotcoco', 'faster-coco-eval'}
    assert choose_backend('auto') == 'pycocotools' == choose_backend('pycocotools')
    with pytest.raises(MissingPackageError, match=r'which is not installed; .*pip install --upgrade .*detkit\[eval'):
        choose_backend('hotcoco')
    with pytest.raises(ConfigError, match="but must be of 'auto', .*Did you mean 'hotcoco'"):
        choose_backend('hotcocoa')


def test_a_folder_of_the_name_is_no_backend(tmp_path, monkeypatch):
    (tmp_path / 'own_coco').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, 'own-coco', replace(BACKENDS['hotcoco'], module='own_coco'))
    with pytest.raises(MissingPackageError, match="'own-coco', which is not installed"):
        choose_backend('own-coco')
