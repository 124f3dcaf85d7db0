"""Suppression in the graph: who runs the file by ONNX Runtime alone finds what detkit finds with the checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from every_task import build_task
from small_models import write_images

from detkit.export import ExportSettings, export_detector, open_exported
from detkit.export.plan import Suppression
from detkit.export.suppression import suppressed
from detkit.inference import Predictor, SourceImage
from detkit.inference.predictor import _warn_once
from detkit.models.losses.rotated_boxes import prob_iou
from detkit.models.postprocess import top_scores
from detkit.utils.errors import ConfigError

ort = pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
SIZE = 96


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Of the shape of the input, so that nothing is scaled or padded."""
    return [str(path) for path in write_images(tmp_path_factory.mktemp('images'), 3, (SIZE, SIZE))]


def export(model, path, images, **settings):
    return export_detector(model, path, ExportSettings(img_size=SIZE, nms=True, **settings), images)


def run_alone(session, arrays: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return the rows of each image that count, by a session of ONNX Runtime alone."""
    about = json.loads(session.get_modelmeta().custom_metadata_map['detkit'])
    inputs = {'images': arrays}
    if 'img_shapes' in about['inputs']:
        inputs['img_shapes'] = np.array([arrays.shape[2:]] * len(arrays))
    outputs = dict(zip(about['outputs'], session.run(about['outputs'], inputs), strict=True))
    return [
        {name: value[i][:count] for name, value in outputs.items() if name not in ('counts', 'mask_protos')}
        for i, count in enumerate(outputs['counts'])
    ]


def pixels(images: list[str]) -> np.ndarray:
    import cv2

    return np.stack([cv2.imread(path)[..., ::-1].transpose(2, 0, 1) for path in images])


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('name', 'class_agnostic'),
    [
        ('yolov8 det', False),
        pytest.param('yolov8 det', True, marks=pytest.mark.slow),
        ('yolov8 seg', False),
        ('yolov8 pose', True),
        pytest.param('yolov8 obb', False, marks=pytest.mark.slow),
        ('yolov8 obb', True),
        ('yolov5 det', False),
        ('retinanet det', False),  # a box counts with each of its classes
    ],
)
def test_onnxruntime_alone_finds_the_same_boxes(name, class_agnostic, images, tmp_path):
    model = build_task(name, SIZE, shallow=name.startswith('yolov8'))
    thresholds = dict(score_thr=0.25, iou_thr=0.45, max_per_img=30)
    path = tmp_path / 'model.onnx'
    done = export(model, path, images, batch_size=3, class_agnostic=class_agnostic, **thresholds)
    assert done.differences.misplaced == 0 and done.description.suppression.iou_thr == 0.45
    samples = Predictor(model=model, batch_size=3, img_size=SIZE, class_agnostic=class_agnostic, **thresholds).predict(
        images
    )
    again = Predictor(model=open_exported(path), batch_size=3).predict(images)  # all as the file has it
    assert [len(sample.pred_instances) for sample in again] == [len(sample.pred_instances) for sample in samples]
    boxes = 'rbboxes' if name == 'yolov8 obb' else 'bboxes'
    for rows, sample in zip(run_alone(ort.InferenceSession(path), pixels(images)), samples, strict=True):
        found = sample.pred_instances
        assert len(found) == len(rows['scores']) > 0
        assert np.allclose(rows['scores'], found.scores, atol=1e-4)
        given = torch.as_tensor(rows[boxes])
        if boxes == 'rbboxes':
            near = prob_iou(given[:, None], found.rbboxes[None]) > 0.99
        else:  # detkit cuts boxes at the image's edges
            near = (given[:, None].clamp(0, SIZE) - found.bboxes[None]).abs().amax(-1) < 0.1
        same = torch.as_tensor(rows['labels'])[:, None] == found.labels
        assert (near & same).any(1).all() and (near & same).any(0).all()


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'name',
    [
        'detr det',
        'rtdetr det',
        'rfdetr obb',
        'yolo26 obb',
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ('rfdetr seg', 'rtdetr obb', 'dfine obb', 'deimv2 det')
        ),
    ],
)
def test_what_needs_no_suppression_is_ranked(name, images, tmp_path, caplog):
    """A query counts with each of its classes where prediction reports it so; there are fewer rows than pairs."""
    model = build_task(name, SIZE)
    options = dict(score_thr=0.001, max_per_img=25)
    _warn_once.cache_clear()
    done = export(model, tmp_path / 'model.onnx', images, dynamic=False, **options)
    assert done.differences.misplaced == 0 and 'iou_thr has no effect' not in caplog.text  # nobody gave one
    samples = Predictor(model=model, img_size=SIZE, **options).predict(images)
    boxes = 'rbboxes' if name.endswith('obb') else 'bboxes'
    session = ort.InferenceSession(tmp_path / 'model.onnx')
    for path, sample in zip(images, samples, strict=True):
        (rows,) = run_alone(session, pixels([path]))
        found = sample.pred_instances
        assert len(rows['scores']) == len(found) == 25
        assert np.allclose(rows['scores'], found.scores, atol=1e-4)
        given = torch.as_tensor(rows[boxes])
        if boxes == 'rbboxes':  # detkit describes them by their longer side
            near = prob_iou(given[:, None], found.rbboxes[None]) > 0.99
        else:
            near = (given[:, None].clamp(0, SIZE) - found.bboxes[None]).abs().amax(-1) < 0.1
        near &= (torch.as_tensor(rows['scores'])[:, None] - found.scores).abs() < 1e-4
        same = torch.as_tensor(rows['labels'])[:, None] == found.labels
        assert (near & same).any(1).all()


@pytest.mark.parametrize('name', ['yolo26 det', 'yolov10 det', 'retinanet det', 'fcos det'])
def test_heads_whose_references_report_a_box_with_each_class(name, images):
    model = build_task(name, SIZE)
    options = dict(score_thr=0.2, iou_thr=0.6, max_per_img=200)
    labels = []
    for agnostic in (False, True):
        predictor = Predictor(model=model, class_agnostic=agnostic, **options)
        found = predictor.predict(images[0])[0].pred_instances
        model.head.test_cfg.update(options, multi_label=not agnostic, class_agnostic=agnostic)
        batch = predictor.make_batch([predictor.prepare(SourceImage(images[0]), 0).packed])
        expected = model(**model.data_preprocessor(batch), mode='predict')[0].pred_instances  # as tests of data do
        assert torch.equal(found.labels, expected.labels) and torch.allclose(found.bboxes, expected.bboxes, atol=1e-2)
        labels.append(found.labels)
    assert len(labels[0]) != len(labels[1]) or (labels[0] != labels[1]).any()


@pytest.mark.parametrize('most', [3, 8, 30])
def test_a_head_of_points_gives_no_more_rows_than_points(most):
    """YOLO26 and YOLOv10 report as many pairs of a point and a class as there are points, where these are few."""
    generator = torch.Generator().manual_seed(0)
    bboxes, scores = (torch.rand(2, 12, size, generator=generator) for size in (4, 5))
    rows = suppressed(
        {'bboxes': bboxes, 'scores': scores}, build_task('yolo26 det', 64).head, Suppression(0.2, max_per_img=most)
    )
    for i, found in enumerate(top_scores(bboxes, scores, 0.2, most)):
        count = int(rows['counts'][i])
        assert count == len(found.scores) == min(most, 12) and not rows['scores'][i, count:].any()
        assert torch.equal(rows['scores'][i, :count], found.scores)
        assert torch.equal(rows['labels'][i, :count], found.labels)
        assert torch.equal(rows['bboxes'][i, :count], found.bboxes)


def test_nothing_above_the_threshold_is_no_row(images, tmp_path):
    export(
        build_task('yolov8 det', SIZE, shallow=True), tmp_path / 'model.onnx', images, score_thr=0.99999, max_per_img=5
    )
    session = ort.InferenceSession(tmp_path / 'model.onnx')
    for path in images:
        (rows,) = run_alone(session, pixels([path]))
        assert all(len(value) == 0 for value in rows.values())


def test_a_file_with_suppression_takes_the_thresholds_that_it_can(images, tmp_path):
    model = build_task('yolov8 det', SIZE, shallow=True)
    export(model, tmp_path / 'model.onnx', images, score_thr=0.2, iou_thr=0.5, max_per_img=40)
    exported = open_exported(tmp_path / 'model.onnx')
    few = Predictor(model=exported, score_thr=0.6, max_per_img=5).predict(images)
    expected = Predictor(model=model, img_size=SIZE, score_thr=0.6, iou_thr=0.5, max_per_img=5).predict(images)
    for ours, theirs in zip(expected, few, strict=True):
        assert np.allclose(ours.pred_instances.scores, theirs.pred_instances.scores, atol=1e-4)
        assert np.allclose(ours.pred_instances.bboxes, theirs.pred_instances.bboxes, atol=0.05)
    for options, message in [
        (dict(score_thr=0.1), 'holds no prediction below 0.2'),
        (dict(iou_thr=0.9), 'was exported with nms and iou_thr 0.5'),
        (dict(class_agnostic=True), 'was exported with nms and class_agnostic False'),
        (dict(max_per_img=41), 'holds 40 predictions of an image at most'),
        (dict(max_per_img=41, tile=64), 'holds 40 predictions of an image at most'),
    ]:
        with pytest.raises(ConfigError, match=message):
            Predictor(model=exported, **options)
