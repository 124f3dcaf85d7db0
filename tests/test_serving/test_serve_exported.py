"""Exported files behind the server."""

import pytest
from serving_helpers import LIMITS, running

from detkit.api import Detector
from detkit.serving.model import ServedModel


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('name', 'dynamic'),
    [
        pytest.param('onnx', False, id='onnx-static'),
        pytest.param('onnx', True, id='onnx-dynamic'),
        pytest.param('torchscript', False, id='torchscript-static'),
        pytest.param('openvino', True, id='openvino-dynamic', marks=pytest.mark.slow),
        pytest.param('openvino', False, id='openvino-static', marks=pytest.mark.slow),
        pytest.param('torchscript', True, id='torchscript-dynamic', marks=pytest.mark.slow),
    ],
)
def test_a_file_is_served_as_the_detector_predicts(name, dynamic, small_detector, picture, tmp_path):
    suffix, *packages = {
        'onnx': ('.onnx', 'onnx', 'onnxruntime'),
        'openvino': ('.xml', 'openvino'),
        'torchscript': ('.torchscript',),
    }[name]
    for package in packages:
        pytest.importorskip(package)
    path = small_detector.export(name, path=tmp_path / f'served{suffix}', img_size=64, dynamic=dynamic)
    detector = Detector(path, runtime=name)
    model = ServedModel(detector, LIMITS)
    model.warm_up(4)
    with running(model) as client:
        answer = client.post(picture)
        assert answer.status == 200, answer.body
        (found,) = answer.json['results']
        assert found['objects'] == detector(picture, img_size=64)[0].to_dict()['objects'] != []
        other = client.post(picture, 'img_size=96')
        assert other.status == (200 if dynamic else 422), other.body
        assert dynamic or 'takes 64 x 64 only' in other.error
        assert client.get('/health').status == 200


def test_thresholds_that_suppression_in_the_file_cannot_follow_are_refused(small_detector, picture, tmp_path):
    for package in ('onnx', 'onnxruntime'):
        pytest.importorskip(package)
    fixed = dict(score_thr=0.2, iou_thr=0.5, max_per_img=40)
    path = small_detector.export('onnx', path=tmp_path / 'served.onnx', img_size=64, nms=True, **fixed)
    with running(ServedModel(Detector(path), LIMITS)) as client:
        assert client.post(picture, 'score_thr=0.3&max_per_img=4').status == 200
        for query, message in [
            ('score_thr=0.1', 'holds no prediction below 0.2: ask for 0.2 or more'),
            ('iou_thr=0.6', 'exported with nms and iou_thr 0.5'),
            ('class_agnostic=true', 'exported with nms and class_agnostic False'),
            ('max_per_img=41', 'holds 40 predictions of an image at most'),
        ]:
            answer = client.post(picture, query)
            assert answer.status == 422, answer.body
            assert message in answer.error
