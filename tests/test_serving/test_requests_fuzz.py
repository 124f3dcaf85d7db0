"""Damaged requests: bodies, addresses and whole requests get an answer that is no fault of the server."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from fuzz_strategies import AMOUNTS, ODD_WORDS, damaged, run_fuzz, values
from hypothesis import strategies as st
from serving_helpers import LIMITS, SMALL, Answer, multipart, running

from detkit.serving.model import ServedModel
from detkit.serving.options import REQUEST_OPTIONS
from detkit.utils.errors import DataError


@pytest.fixture
def served(small_detector, monkeypatch):
    monkeypatch.setattr('detkit.serving.server._KEEP_ALIVE_SECONDS', 0.1)
    limits = {'max_bytes': 100_000, 'body_seconds': 0.1, 'max_images': 4}
    with running(ServedModel(small_detector, LIMITS), **limits) as client:
        yield client
        assert client.metric('detkit_errors_total') == 0
        assert client.metric('detkit_queue_images') == 0


def check_answer(answer: Answer) -> None:
    """Let an answer be predictions, or raise its sentence."""
    if answer.status != 200:
        assert 400 <= answer.status < 500, answer.body
        assert answer.error
        raise DataError(answer.error)
    assert answer.headers['Content-Type'] == 'image/png' or answer.json['results']


@pytest.mark.parametrize('cases', AMOUNTS)
def test_bodies(served, picture, cases):
    text = base64.b64encode(picture).decode()
    kinds = {
        'image/png': picture,
        'multipart/form-data; boundary=XX': multipart({'a.png': picture, 'b.png': picture}),
        'application/json': json.dumps(
            {'images': [text, {'data': text, 'name': 'x.png'}, {'url': 'http://x/'}]}
        ).encode(),
    }
    drawn = st.sampled_from(sorted(kinds)).flatmap(lambda kind: st.tuples(st.just(kind), damaged(st.just(kinds[kind]))))
    run_fuzz(cases, drawn, lambda case: check_answer(served.post(case[1], kind=case[0])))


@pytest.mark.parametrize('cases', AMOUNTS)
def test_json_of_other_values(served, picture, cases):
    right = st.just(base64.b64encode(picture).decode())
    entries = st.dictionaries(st.sampled_from(['data', 'url', 'name']), right | values)
    contents = st.fixed_dictionaries({'images': st.lists(right | right | entries | values, min_size=1, max_size=3)})

    def check(content: object) -> None:
        check_answer(served.post(json.dumps(content).encode('utf-8', 'surrogatepass'), kind='application/json'))

    named = st.fixed_dictionaries({'data': right, 'name': st.text(max_size=12)})
    wholes = st.lists(right | named, min_size=1, max_size=3).map(lambda images: {'images': images})
    run_fuzz(cases, wholes | contents | values, check)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_queries(served, picture, cases):
    right = {'score_thr': '0.4', 'iou_thr': '1', 'classes': 'dog,0', 'max_per_img': '7', 'class_agnostic': 'true'}
    right |= {'retina_masks': '0', 'img_size': '64', 'format': 'png'}
    words = st.sampled_from([*map(str, ODD_WORDS), '0', '1', '0.5', '64', 'true', 'dog']) | st.text(max_size=8)
    odd = st.tuples(st.sampled_from([*REQUEST_OPTIONS, 'format', 'x']), words)
    usual = st.sampled_from(sorted(right.items()))
    pairs = st.lists(usual | usual | usual | odd, max_size=4)

    def check(query: list[tuple[str, str]]) -> None:
        texts = [f'{name}={quote(value.encode("utf-8", "surrogatepass"))}' for name, value in query]
        check_answer(served.post(picture, '&'.join([*([] if 'img_size' in dict(query) else [SMALL]), *texts])))

    run_fuzz(cases, pairs, check)


@pytest.mark.parametrize('cases', [100, pytest.param(2000, marks=pytest.mark.slow)])  # many are waited for
def test_whole_requests(served, picture, cases):
    head = f'POST /predict?{SMALL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: image/png\r\n'
    chunks = b'%x\r\n%s\r\n0\r\n\r\n' % (len(picture), picture)
    heads = [
        (f'{head}Content-Length: {len(picture)}\r\n\r\n'.encode(), picture),
        (f'{head}Transfer-Encoding: chunked\r\n\r\n'.encode(), chunks),
        (b'GET /info HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close\r\n\r\n', b''),
    ]
    drawn = st.sampled_from(heads).flatmap(lambda parts: st.tuples(damaged(st.just(parts[0])), st.just(parts[1])))

    def check(parts: tuple[bytes, bytes]) -> None:
        first = served.raw(b''.join(parts)).split(b'\r\n')[0]
        if not first.startswith(b'HTTP/1.1 200 '):
            assert not first or first.startswith(b'HTTP/1.1 4'), first
            raise DataError(first.decode())

    run_fuzz(cases, drawn, check)
