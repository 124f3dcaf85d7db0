"""Results: arrays, choosing, pictures, and the forms that other programs take."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from small_models import CLASSES, write_images, write_shallow_checkpoint

from detkit.inference import Predictor, Result, Results, find_images
from detkit.structures.masks import InstanceMasks
from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.utils.errors import ConfigError, DataError, MissingPackageError

TASKS = ('det', 'seg', 'pose', 'obb', 'cls')


@pytest.fixture(scope='module')
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Results]:
    """Results on two images and a broken one, by task."""
    folder = tmp_path_factory.mktemp('results')
    write_images(folder / 'images', 2)
    (folder / 'images' / 'broken.png').write_bytes(b'no image')
    images = find_images(folder / 'images')
    found = {}
    for task in TASKS:
        checkpoint = write_shallow_checkpoint(folder / f'{task}.pth', task)
        predictor = Predictor(None, checkpoint, device='cpu', img_size=64, score_thr=0.1, max_per_img=6)
        found[task] = Results(
            Result.of_sample(image, sample, predictor.model.info)
            for image, sample in zip(images, predictor(images), strict=True)
        )
    return found


@pytest.mark.parametrize('task', TASKS)
def test_arrays(every, task):
    first, second, broken = every[task]
    for result in (first, second):
        count = len(result)
        assert 0 < count <= 6 and result.img_shape == (60, 90) and result.error is None
        assert result.labels.dtype == np.int64 and result.scores.dtype == np.float32
        assert (np.diff(result.scores) <= 0).all()
        assert result.names == [CLASSES[label] for label in result.labels]
        assert (result.img == cv2.imread(result.img_path)[..., ::-1]).all()
        shapes = {
            'bboxes': (count, 4) if task != 'cls' else None,
            'masks': (count, 60, 90) if task == 'seg' else None,
            'keypoints': (count, 17, 3) if task == 'pose' else None,
            'rbboxes': (count, 5) if task == 'obb' else None,
            'probs': (3,) if task == 'cls' else None,
        }
        for name, shape in shapes.items():
            value = getattr(result, name)
            assert value is None if shape is None else (isinstance(value, np.ndarray) and value.shape == shape), name
    assert len(broken) == 0 and 'broken.png is no image' in broken.error and broken.img_shape is None
    for method in (broken.plot, lambda: broken.img, lambda: broken.save('never.jpg')):
        with pytest.raises(DataError, match='broken.png is no image'):
            method()


@pytest.mark.parametrize('task', TASKS)
def test_some_of_the_objects(every, task):
    result = every[task][0]
    assert (result[1].scores == result.scores[1:2]).all() and (result[-1].labels == result.labels[-1:]).all()
    best = result[result.scores >= result.scores[1]]
    assert best.scores.tolist() == [score for score in result.scores if score >= result.scores[1]]
    assert len(result[:2]) == 2 and len(result[[]]) == 0 and len(result[np.zeros(len(result), bool)]) == 0
    assert [single.names[0] for single in result] == result.names
    if task == 'seg':
        assert (result[[1, 0]].masks == result.masks[[1, 0]]).all()
    for index in (len(result), [0, -len(result) - 1], np.ones(len(result) + 1, bool)):
        with pytest.raises(IndexError, match=f'a result with {len(result)}'):
            result[index]
    name = result.classes[0]
    for index in (name, 1.0, True, None, [0.5], [[0], [1]], [[0], 1], result.scores[0] > 0):
        with pytest.raises(TypeError, match='a boolean array such as') as error:
            result[index]
        assert ('for name in result.names' in str(error.value)) == (index is name)
    assert result[:2].plot().shape == (60, 90, 3) and result[:0].summary == 'nothing found'


@pytest.mark.parametrize('task', TASKS)
def test_pictures(every, task, tmp_path):
    results = every[task]
    result = results[0]
    plain, drawn = result.img, result.plot()
    assert drawn.shape == plain.shape and abs(drawn.astype(int) - plain).max() > 60
    path = result.save(tmp_path / 'new' / 'a.png')
    assert (cv2.imread(str(path))[..., ::-1] == drawn).all()
    assert (cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), 1)[..., ::-1] == drawn).all()
    assert results[2]._repr_png_() is None
    assert [file.name for file in results.save(tmp_path / 'all')] == ['0.jpg', '1.jpg']
    assert sorted(file.name for file in (tmp_path / 'all').iterdir()) == ['0.jpg', '1.jpg']
    for name in ('a.txt', 'a'):
        with pytest.raises(ConfigError, match='.jpg or .png'):
            result.save(tmp_path / name)


def test_a_list_of_results(every, tmp_path):
    results = every['det']
    both = results + results[:1]
    assert isinstance(both, Results) and len(both) == 4 and both[3] is results[0]
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='file is a file; pictures of several images'):
        results.save(tmp_path / 'file')
    with pytest.raises(AttributeError, match=r'each result has it: results\[0\]\.bboxes'):
        _ = results.bboxes
    with pytest.raises(AttributeError, match=r"'nothing'$"):
        _ = results.nothing


def test_crops(every):
    result = every['det'][0]
    for crop, (x0, y0, x1, y1) in zip(result.crops(), result.bboxes, strict=True):
        x, y = int(x0), int(y0)
        assert (crop == result.img[y : int(np.ceil(y1)), x : int(np.ceil(x1))]).all() and crop.size
    assert all(large.size >= small.size for large, small in zip(result.crops(margin=0.3), result.crops(), strict=True))
    assert result[:0].crops() == []
    with pytest.raises(ConfigError, match='classifier'):
        every['cls'][0].crops()


@pytest.mark.parametrize('task', TASKS)
def test_plain_types(every, task):
    results = every[task]
    found = json.loads(results.to_json())
    assert found == [json.loads(result.to_json()) for result in results] and len(found) == 3
    assert found[2]['error'] == results[2].error and found[2]['objects'] == [] and found[2]['img_shape'] is None
    for number, entry in enumerate(found[0]['objects']):
        result = results[0][number]
        assert [entry['name']] == result.names and entry['score'] == pytest.approx(result.scores[0], abs=1e-6)
        if task == 'cls':
            assert entry.keys() == {'label', 'name', 'score'}
            continue
        assert entry['bbox'] == pytest.approx(result.bboxes[0].tolist(), abs=1e-3)
        if task == 'seg':
            assert (coco_mask.decode(entry['segmentation']).astype(bool) == result.masks[0]).all()
        if task == 'pose':
            np.testing.assert_allclose(entry['keypoints'], result.keypoints[0], atol=1e-3)
        if task == 'obb':
            np.testing.assert_allclose(entry['corners'], rbbox_corners(result.rbboxes)[0].ravel(), atol=1e-3)


def test_coco(every, tmp_path):
    with pytest.raises(ConfigError, match='category_ids has 2 ids, but the model has 3 classes'):
        every['seg'].to_coco(category_ids=[1, 7])
    entries = every['seg'].to_coco(category_ids=[1, 7, 9])
    assert len(entries) == sum(map(len, every['seg'])) and {entry['image_id'] for entry in entries} == {0, 1}
    for entry in entries:
        assert entry['category_id'] == [1, 7, 9][CLASSES.index(entry['category_name'])]
        x, y, w, h = entry['bbox']
        assert 0 <= x <= x + w <= 90.01 and 0 <= y <= y + h <= 60.01
    assert json.loads(every['seg'].save_coco(tmp_path / 'a' / 'p.json').read_text()) == every['seg'].to_coco()
    assert every['seg'][0].to_coco(img_id=42)[0]['image_id'] == 42
    assert [len(entry['top5']) for entry in every['cls'].to_coco()] == [3, 3]


def test_texts(every):
    result, *_, broken = every['det']
    assert str(result).splitlines()[0] == f'{result.img_path} (90 x 60)'
    assert all(f'{score:.2f}' in str(result) for score in result.scores) and result.names[0] in str(result)
    assert repr(result) == f'<Result {result.img_path}: {result.summary}>'
    assert broken.error in str(broken) and broken.error in repr(broken)
    assert 'angle' in str(every['obb'][0]) and 'x0' not in str(every['cls'][0])
    assert repr(every['det']).startswith('<Results of 3 images, 1 could not be read: ')
    assert list(every['det'].errors) == [broken.img_path]
    assert isinstance(every['det'][:2], Results) and repr(every['det'][:0]) == '<Results of 0 images: nothing found>'


def test_a_program_that_shows_pictures(every, monkeypatch):
    shown = []
    monkeypatch.setattr('PIL.ImageShow.show', lambda image, title: shown.append((image.size, title)) or True)
    every['det'][0].show()
    assert shown == [((90, 60), every['det'][0].img_path)]
    monkeypatch.setattr('PIL.ImageShow.show', lambda image, title: False)
    with pytest.raises(ConfigError, match='no program here'):
        every['det'][0].show()
    notebook = ModuleType('IPython')
    notebook.get_ipython = lambda: SimpleNamespace(kernel=object())
    notebook.display = SimpleNamespace(display=lambda image: shown.append(image.size))
    monkeypatch.setitem(sys.modules, 'IPython', notebook)
    every['det'][0].show()
    assert shown[-1] == (90, 60)


@pytest.mark.parametrize(
    ('method', 'package'),
    [('to_supervision', 'supervision'), ('to_fiftyone', 'fiftyone'), ('to_pandas', 'pandas')],
)
def test_a_package_that_is_missing(every, monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf'{method}\(\) needs the package {package}.*pip install {package}'):
        getattr(every['det'][0], method)()


@pytest.mark.parametrize('task', TASKS)
def test_supervision(every, task):
    sv = pytest.importorskip('supervision')
    for result in every[task]:
        found = result.to_supervision()
        assert (found.class_id == result.labels).all() and (found.confidence == result.scores).all()
        if task == 'cls':
            assert isinstance(found, sv.Classifications)
            continue
        assert isinstance(found, sv.Detections) and len(found) == len(result)
        assert (found.xyxy == result.bboxes).all() and list(found.data['class_name']) == result.names
        if result.error is not None:
            continue
        assert (found.mask == result.masks).all() if task == 'seg' else found.mask is None
        if task == 'obb':
            np.testing.assert_allclose(found.data['xyxyxyxy'], rbbox_corners(result.rbboxes), rtol=1e-5)
            assert sv.OrientedBoxAnnotator().annotate(result.img, found).shape == (60, 90, 3)
        assert (sv.BoxAnnotator().annotate(result.img, found) != result.img).any()
        assert len(found[found.confidence > result.scores[-1]]) == (result.scores > result.scores[-1]).sum()
        if task == 'pose':
            points = result.to_supervision_keypoints()
            assert (points.xy == result.keypoints[..., :2]).all() and (points.class_id == result.labels).all()
            assert (sv.VertexAnnotator(radius=2).annotate(result.img, points) != result.img).any()
        else:
            with pytest.raises(ConfigError, match='no keypoints'):
                result.to_supervision_keypoints()


def test_pandas(every):
    pytest.importorskip('pandas')
    table = every['obb'].to_pandas()
    assert len(table) == sum(map(len, every['obb'])) and table['name'].tolist() == [
        name for result in every['obb'] for name in result.names
    ]
    np.testing.assert_allclose(table[['x0', 'y0', 'x1', 'y1']], np.concatenate([r.bboxes for r in every['obb'][:2]]))
    np.testing.assert_allclose(table['angle'], np.concatenate([r.rbboxes[:, 4] for r in every['obb'][:2]]))
    assert every['cls'][0].to_pandas().columns.tolist() == ['img_path', 'label', 'name', 'score']


@pytest.fixture
def fiftyone(monkeypatch) -> ModuleType:
    """A stand-in whose labels keep what they are given."""

    class Label(SimpleNamespace):
        pass

    module = ModuleType('fiftyone')
    for name in 'Detections Detection Keypoints Keypoint Polylines Polyline Classification'.split():
        setattr(module, name, type(name, (Label,), {}))
    monkeypatch.setitem(sys.modules, 'fiftyone', module)
    return module


def test_fiftyone(every, fiftyone):
    size = np.array([90, 60])
    result, *_, broken = every['seg']
    frame = np.zeros((1, 60, 90), bool)
    frame[0, 20:40, 30:50] = np.random.default_rng(0).random((20, 20)) > 0.4
    result = replace(
        result[:1], bboxes=np.array([[29.6, 20.2, 50.1, 40]], np.float32), instance_masks=InstanceMasks.from_bool(frame)
    )
    found = result.to_fiftyone()
    assert isinstance(found, fiftyone.Detections) and broken.to_fiftyone().detections == []
    for own, detection in zip(result, found.detections, strict=True):
        x, y, w, h = detection.bounding_box
        np.testing.assert_allclose([x * 90, y * 60, (x + w) * 90, (y + h) * 60], own.bboxes[0], rtol=1e-4, atol=1e-3)
        assert detection.label == own.names[0] and detection.confidence == pytest.approx(float(own.scores[0]))
        assert (detection.mask == frame[0, 20:40, 29:51]).all()
    result = every['pose'][0]
    for own, keypoint in zip(result, result.to_fiftyone().keypoints, strict=True):
        np.testing.assert_allclose(keypoint.points * size, own.keypoints[0, :, :2], rtol=1e-5, atol=1e-3)
        assert keypoint.confidence == own.keypoints[0, :, 2].tolist()
    result = every['obb'][0]
    for own, line in zip(result, result.to_fiftyone().polylines, strict=True):
        np.testing.assert_allclose(line.points[0] * size, rbbox_corners(own.rbboxes)[0], rtol=1e-4, atol=1e-3)
        assert line.closed and line.filled
    result = every['cls'][0]
    assert result.to_fiftyone().label == result.names[0] and every['cls'][2].to_fiftyone() is None


def test_results_can_be_pickled(every, tmp_path: Path):
    import pickle

    for results in every.values():
        again = pickle.loads(pickle.dumps(results))
        assert again.to_json() == results.to_json() and (again[0].plot() == results[0].plot()).all()
