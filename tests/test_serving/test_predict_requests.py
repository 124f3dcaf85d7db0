"""Requests for predictions: their answers are those of ``Detector``, in whatever form they come."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import cv2
import numpy as np
import pytest
from serving_helpers import LIMITS, SMALL, running
from small_models import write_shallow_checkpoint

from detkit.api import Detector
from detkit.inference import PredictionOptions
from detkit.serving.model import ServedModel
from detkit.serving.options import REQUEST_OPTIONS
from detkit.serving.schemas import Info, Predictions

OPTIONS = [
    {},
    {'score_thr': 0.5001},
    {'score_thr': 0.01, 'max_per_img': 3},
    {'classes': ['dog']},
    {'classes': ['dog', '2'], 'iou_thr': 0.3},
    {'class_agnostic': True},
    {'retina_masks': True},
    {'img_size': 96},
]


@pytest.fixture(scope='module')
def served(small_detector):
    with running(ServedModel(small_detector, LIMITS), max_wait_ms=20) as client:
        yield client


def expected(detector: Detector, data: bytes, **options) -> list[dict]:
    return detector(data, **{'img_size': 64, **options})[0].to_dict()['objects']


def query_of(options: dict) -> str:
    texts = {key: ','.join(value) if isinstance(value, list) else str(value) for key, value in options.items()}
    return '&'.join(f'{key}={value}' for key, value in {'img_size': '64', **texts}.items())


@pytest.mark.default_cases(2)
@pytest.mark.parametrize('task', ['det', 'seg', 'pose', 'obb', 'cls'])
def test_every_task_answers_as_the_detector(task, picture, tmp_path):
    detector = Detector(write_shallow_checkpoint(tmp_path / 'x.pth', task), device='cpu')
    with running(ServedModel(detector, LIMITS)) as client:
        answer = client.post_form({'a.png': picture})
        assert answer.status == 200 and answer.headers['Content-Type'] == 'application/json'
        (result,) = Predictions.model_validate(answer.json).results
        assert answer.json['results'][0]['objects'] == expected(detector, picture) != []
        assert (result.img_path, result.img_shape, result.error) == ('a.png', [48, 64], None)
        info = Info.model_validate(client.get('/info').json)
        assert (info.model, info.task, info.classes) == ('small.pth', task, list(detector.classes))
        assert info.img_size == (224 if task == 'cls' else 640)
        assert len(info.skeleton) == (19 if task == 'pose' else 0)


def test_every_form_of_a_request_gives_the_same(served, small_detector, picture):
    objects = expected(small_detector, picture)
    text = base64.b64encode(picture).decode()
    answers = [
        served.post(picture),
        served.post(picture, kind='application/octet-stream'),
        served.post_form({'image0': picture}),
        served.post_json({'images': [text]}),
        served.post_json({'images': [{'data': text}]}),
        served.post_json({'images': [f'data:image/png;base64,{text}']}),
    ]
    for answer in answers:
        assert answer.json['results'] == [
            {'img_path': 'image0', 'img_shape': [48, 64], 'error': None, 'objects': objects}
        ]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_options_are_those_of_the_detector(options, served, small_detector, picture):
    found = served.post(picture, query_of(options)).json['results'][0]['objects']
    assert found == expected(small_detector, picture, **options)


def test_the_cases_of_options_name_all_that_a_request_may_choose():
    assert {name for options in OPTIONS for name in options} == set(REQUEST_OPTIONS)
    assert set(REQUEST_OPTIONS) <= {each.name for each in fields(PredictionOptions)}


def test_classes_may_be_repeated(served, picture):
    one, two = (
        served.post(picture, f'{SMALL}&{query}').json for query in ('classes=dog,bird', 'classes=dog&classes=bird')
    )
    assert one == two and {each['name'] for each in one['results'][0]['objects']} == {'dog', 'bird'}


def test_several_images_keep_their_order_and_one_that_is_broken_its_place(served, small_detector, pictures):
    files = {path.parent.name + path.name: path.read_bytes() for path in pictures[:4]}
    files = {**dict(list(files.items())[:2]), 'broken.png': b'\x89PNG\r\n\x1a\n', **dict(list(files.items())[2:])}
    results = served.post_form(files).json['results']
    assert [each['img_path'] for each in results] == list(files)
    assert 'broken.png is truncated' in results[2]['error'] and results[2]['objects'] == []
    for name, result in zip(files, results, strict=True):
        if name != 'broken.png':
            assert result['objects'] == expected(small_detector, files[name])


def test_concurrent_requests_share_batches_and_disturb_nobody(served, small_detector, pictures):
    """Two shapes and all kinds of options at once: each answer is as if its request had been alone."""
    cases = [(path.read_bytes(), options) for path in pictures for options in OPTIONS] * 2
    alone = {id(case[1]): [] for case in cases}
    before = served.metric('detkit_batch_size_count'), served.metric('detkit_batch_size_sum')
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda case: served.post(case[0], query_of(case[1])), cases))
    after = served.metric('detkit_batch_size_count'), served.metric('detkit_batch_size_sum')
    assert after[1] - before[1] == len(cases) and after[0] - before[0] < len(cases)  # some were batched
    for (data, options), answer in zip(cases, answers, strict=True):
        wanted, found = expected(small_detector, data, **options), answer.json['results'][0]['objects']
        assert [(each['label'], each.get('segmentation')) for each in found] == [
            (each['label'], each.get('segmentation')) for each in wanted
        ]
        # The network's sums differ in their last digits between sizes of a batch, never by a neighbour.
        for name, tolerance in (('score', 1e-5), ('bbox', 2e-3)):
            assert np.allclose([e[name] for e in found], [e[name] for e in wanted], rtol=0, atol=tolerance)
        alone[id(options)].append(json.dumps(found))
    assert all(alone.values())


@pytest.mark.parametrize(
    ('query', 'accept'), [('format=jpg', ''), ('format=jpeg', ''), ('', 'image/jpeg'), ('', 'image/*;q=.5')]
)
def test_a_picture_is_the_plot_of_the_result(query, accept, served, small_detector, picture):
    answer = served.post(picture, f'{SMALL}&{query}', **({'Accept': accept} if accept else {}))
    assert answer.headers['Content-Type'] == 'image/jpeg'
    drawn = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    plot = small_detector(picture, img_size=64)[0].plot()
    assert np.abs(drawn.astype(int) - plot.astype(int)).mean() < 8


def test_a_png_is_the_exact_plot(served, small_detector, picture):
    answer = served.post(picture, f'{SMALL}&format=png')
    drawn = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(drawn, small_detector(picture, img_size=64)[0].plot())


@pytest.mark.parametrize(
    ('accept', 'kind'),
    [
        ('*/*', 'application/json'),
        ('text/html, */*;q=0.1', 'application/json'),
        ('image/png, application/json;q=0.9', 'image/png'),
        ('image/png;q=0.1, application/json', 'application/json'),
        ('image/png;q=abc', None),
        ('text/html', None),
        ('application/json;q=0', None),
    ],
)
def test_the_header_accept_chooses(accept, kind, served, picture):
    answer = served.post(picture, Accept=accept)
    assert (answer.status, answer.headers['Content-Type']) == ((200, kind) if kind else (406, 'application/json'))


def test_a_name_is_shown_without_folders_and_control_characters(served, picture):
    body = {'images': [{'data': base64.b64encode(picture).decode(), 'name': '../a\\b\x1b[31m.png'}]}
    assert served.post_json(body).json['results'][0]['img_path'] == 'b\\x1b[31m.png'


def test_the_schema_says_what_there_is(served):
    schema = served.get('/openapi.json').json
    post = schema['paths']['/predict']['post']
    assert {each['name'] for each in post['parameters']} == {'format', *REQUEST_OPTIONS}
    assert set(post['requestBody']['content']) == {
        'multipart/form-data',
        'application/octet-stream',
        'application/json',
    }
    assert {'200', '413', '415', '422', '503'} <= set(post['responses'])
    assert 'segmentation' in schema['components']['schemas']['FoundObject']['properties']


@pytest.mark.parametrize(
    ('parameters', 'name'),
    [
        ("filename*=UTF-8''%C3%BCber.png", 'über.png'),
        ('FileName*="iso-8859-1\'de\'%FCber.png"', 'über.png'),
        ("filename*=utf-8''%ff%zz", '\ufffd%zz'),
        ('filename*=a.png', 'image0'),
        ('filename*0="a."; filename*1="png"', 'image0'),
    ],
)
def test_a_file_that_has_its_name_in_the_extended_form_alone(served, picture, parameters, name):
    head = f'--x\r\nContent-Disposition: form-data; name=file; {parameters}\r\n\r\n'.encode()
    body = head + picture + b'\r\n--x--\r\n'
    answer = served.request('POST', f'/predict?{SMALL}', body, Content_Type='multipart/form-data; boundary=x')
    assert (
        answer.status == 200 and answer.json['results'][0]['img_path'] == name and answer.json['results'][0]['objects']
    )


def test_a_field_whose_name_holds_such_a_parameter_is_no_file(served):
    body = b'--x\r\nContent-Disposition: form-data; name="a; filename*=b"\r\n\r\n0.5\r\n--x--\r\n'
    answer = served.request('POST', f'/predict?{SMALL}', body, Content_Type='multipart/form-data; boundary=x')
    assert answer.status == 422 and 'is no file' in answer.error
