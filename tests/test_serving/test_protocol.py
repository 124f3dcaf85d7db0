"""Requests that are wrong, hostile, slow or too many: each gets its status and a sentence, and the server goes on."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.message import Message

import cv2
import numpy as np
import pytest
from PIL import Image
from serving_helpers import LIMITS, SMALL, Client, multipart, read_all, running, wait_until
from starlette.responses import Response

from detkit.serving import ServeSettings, bodies
from detkit.serving.model import ServedModel
from detkit.utils.errors import ConfigError

MAX_BYTES = 200_000


@pytest.fixture(scope='module')
def served(small_detector):
    limits = {'max_bytes': MAX_BYTES, 'max_images': 3, 'body_seconds': 0.5, 'max_img_size': 128, 'max_per_img': 50}
    with running(ServedModel(small_detector, LIMITS), **limits) as client:
        yield client


@pytest.fixture(autouse=True)
def still_serves(served, picture):
    """After each of these tests the server answers as before, and holds nothing of the request."""
    yield
    assert served.post(picture).status == 200
    wait_until(lambda: served.metric('detkit_queue_images') == 0)


def chunked(*chunks: bytes) -> bytes:
    return b''.join(b'%x\r\n%s\r\n' % (len(chunk), chunk) for chunk in chunks) + b'0\r\n\r\n'


def head(*lines: str, path: str = f'/predict?{SMALL}') -> bytes:
    return '\r\n'.join([f'POST {path} HTTP/1.1', 'Host: x', *lines, '', '']).encode()


def bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that says it has side * side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    size = side.to_bytes(4, 'big')
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', size + size + b'\x08\x02\0\0\0')
        + chunk(b'IDAT', zlib.compress(bytes(10_000)))
        + chunk(b'IEND', b'')
    )


def png(shape: tuple[int, int]) -> bytes:
    return cv2.imencode('.png', np.zeros((*shape, 3), np.uint8))[1].tobytes()


def nested(depth: int) -> bytes:
    return b'{"images": ' + b'[' * depth + b']' * depth + b'}'


JSON = {'kind': 'application/json'}
FORM = {'kind': 'multipart/form-data; boundary=XX'}
WRONG = {
    'no body': (b'', {}, 400, 'holds no image'),
    'no type': (b'abc', {'kind': ''}, 415, 'the Content-Type is missing'),
    'another type': (b'abc', {'kind': 'text/plain'}, 415, "'text/plain' is not understood"),
    'a compressed body': (b'abc', {'Content_Encoding': 'gzip'}, 415, 'Content-Encoding'),
    'no image': (b'nonsense', {}, 422, 'image0 is no image'),
    'half an image': (png((40, 40))[:-30], {}, 422, 'truncated'),
    'a bomb': (bomb(60_000), {}, 422, '60000x60000 pixels, but this server takes images of 65,536 pixels'),
    'too many pixels': (png((300, 300)), {}, 422, '300x300 pixels'),
    'no boundary': (b'abc', {'kind': 'multipart/form-data'}, 400, 'no boundary'),
    'a long boundary': (b'abc', {'kind': f'multipart/form-data; boundary={"b" * 300}'}, 400, 'malformed'),
    'another boundary': (multipart({'a': b'abc'}, 'YY'), FORM, 400, 'malformed'),
    'a form that ends early': (multipart({'a': b'abc'})[:-6], FORM, 400, 'before its last boundary'),
    'an empty form': (b'--XX--\r\n', FORM, 400, ''),
    'a field that is no file': (
        b'--XX\r\nContent-Disposition: form-data; name="score_thr"\r\n\r\n0.5\r\n--XX--\r\n',
        FORM,
        422,
        "'score_thr' of the form is no file",
    ),
    'an empty file': (multipart({'a.png': b''}), FORM, 422, 'a.png is empty'),
    'too many files': (multipart({str(number): b'x' for number in range(9)}), FORM, 413, 'more than 3 images'),
    'long headers of a part': (b'--XX\r\nA: ' + b'a' * 9000 + b'\r\n\r\n\r\n--XX--\r\n', FORM, 400, 'malformed'),
    'no json': (b'{"images": [', JSON, 400, 'is no JSON'),
    'json in another encoding': (b'\xff\xfe\xff', JSON, 400, 'is no JSON'),
    'a long number': (b'{"images": ' + b'9' * 5000 + b'}', JSON, 400, 'is no JSON'),
    'a deep json': (nested(50_000), JSON, 413, 'more entries'),
    'a nested json': (nested(50), JSON, 422, 'the JSON must be'),
    'a json list': (b'[]', JSON, 422, 'the JSON must be'),
    'no images in json': (b'{"images": []}', JSON, 400, 'holds no image'),
    'many small lists': (b'{"images": [' + b'[],' * 60_000 + b'[]]}', JSON, 413, 'more entries than 3 images need'),
    'many empty parts': (
        b'--XX\r\nContent-Disposition: form-data; name="a"; filename=""\r\n\r\n\r\n' * 1000 + b'--XX--\r\n',
        FORM,
        413,
        'more than 3 images',
    ),
    'too many in json': (json.dumps({'images': ['AA=='] * 4}).encode(), JSON, 413, '4 images, but may hold 3'),
    'options in json': (b'{"images": ["AA=="], "score_thr": 1}', JSON, 422, 'options belong in the query'),
    'data and url': (b'{"images": [{"data": "AA==", "url": "http://x"}]}', JSON, 422, 'image 0: the JSON must be'),
    'a number as data': (b'{"images": [{"data": 3}]}', JSON, 422, 'image 0'),
    'no base64': (b'{"images": ["AA==", "\xc3\xa4"]}', JSON, 422, 'image 1 is no base64'),
    'half base64': (b'{"images": ["AAA"]}', JSON, 422, 'image 0 is no base64'),
    'a data address of text': (b'{"images": ["data:text/plain,abc"]}', JSON, 422, 'not in base64'),
    'images twice': (b'{"images": [], "images": ["aGFsbG8="]}', JSON, 422, "the key 'images' twice"),
    'data twice': (b'{"images": [{"data": "aGFsbG8=", "data": ""}]}', JSON, 422, "the key 'data' twice"),
    'an address': (b'{"images": [{"url": "http://127.0.0.1/"}]}', JSON, 403, 'fetches no addresses'),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_wrong_body_gets_a_sentence(case, served):
    body, how, status, text = WRONG[case]
    answer = served.post(body, **how)
    assert (answer.status, text in answer.error) == (status, True), answer.error
    assert 'Traceback' not in answer.error and answer.headers['Content-Type'] == 'application/json'


def parse_as_before(value: str | bytes | None) -> tuple[bytes, dict[bytes, bytes]]:
    """Parse a header as python-multipart did until it left the parameters of RFC 2231 out: by the package email."""
    message = Message()
    message['content-type'] = value if isinstance(value, str) else (value or b'').decode('latin-1')
    kind, *parameters = message.get_params() or [('', '')]
    found = {name: given[-1] if isinstance(given, tuple) else given for name, given in parameters}
    return kind[0].encode('latin-1'), {name.encode(): given.encode('latin-1') for name, given in found.items()}


@pytest.mark.parametrize('parameter', ['boundary*=a; boundary*0=b', f'boundary*{"1" * 5000}=x'], ids=['two', 'long'])
@pytest.mark.parametrize('parse', [None, parse_as_before])
def test_parameters_that_older_parsers_fail_at_get_a_sentence(parameter, parse, served, picture, monkeypatch):
    if parse is not None:
        monkeypatch.setattr(bodies, 'parse_options_header', parse)
    answer = served.post(picture, kind=f'multipart/form-data; {parameter}')
    assert answer.status == 400 and ('parameters' in answer.error or 'no boundary' in answer.error)
    parameter = parameter[:60].replace('boundary', 'filename')
    part = f'--XX\r\nContent-Disposition: form-data; name="a"; {parameter}\r\n\r\n'.encode()
    answer = served.post(part + picture + b'\r\n--XX--\r\n', **FORM)
    assert answer.status in (200, 400, 422)


QUERIES = {
    'skore_thr=1': "no option 'skore_thr'. Did you mean 'score_thr'",
    'batch_size=1': "no option 'batch_size'",
    'score_thr=2': 'score_thr is 2.0, but must be a number from 0 to 1',
    'score_thr=nan': 'score_thr is nan',
    'score_thr=': "score_thr is ''",
    'score_thr=a%00b': 'must be a number',
    'score_thr=.1&score_thr=.2': 'is there twice',
    'format=jpg&format=png': 'the option format is there twice',
    'format=json&format=json': 'the option format is there twice',
    'max_per_img=1e3': 'must be a whole number',
    'max_per_img=51': 'takes 50 at most',
    'max_per_img=0': 'at least 1',
    'max_per_img=' + '9' * 5000: 'max_per_img is',
    'img_size=129': 'takes 128 at most',
    'img_size=31': 'at least 32',
    'class_agnostic=yes': 'must be true or false',
    'class_agnostic=': "class_agnostic is ''",
    'max_per_img=1_0': "max_per_img is '1_0', but must be a whole number",
    'max_per_img=%D9%A3': 'must be a whole number',
    'score_thr=%200.5': 'must be a number',
    'score_thr=0.' + '1' * 60 + 'x': 'must be a number',
    'format=': "format is ''",
    'classes=': "classes is '', which has an empty part; leave classes out",
    'classes=dog,,': "classes is 'dog,,', which has an empty part",
    'classes=dog&classes=%20': 'has an empty part',
    'classes=' + '0,' * 1001 + '0': 'more than 1,000 classes',
    'classes=horse': "no class 'horse'",
    'format=gif': "format is 'gif'",
    'conf=0.3': "there is no option 'conf'; write score_thr. There are",
    'imgsz=64': "there is no option 'imgsz'; write img_size. There are",
    'score_th=0.3': "there is no option 'score_th'. Did you mean 'score_thr'",
}


@pytest.mark.parametrize('query', QUERIES, ids=lambda query: query[:24])
def test_a_wrong_option_gets_a_sentence(query, served, picture):
    answer = served.post(picture, query)
    assert (answer.status, QUERIES[query] in answer.error) == (422, True), answer.error


def test_masks_that_might_take_too_much_memory_are_refused(served):
    answer = served.post(png((200, 300)), f'{SMALL}&max_per_img=50&score_thr=0&iou_thr=1')
    assert answer.status == 200 and len(answer.json['results'][0]['objects']) == 50
    answer = served.post(png((200, 300)))
    assert (answer.status, '?max_per_img=139' in answer.error) == (422, True)


def test_a_picture_of_several_images_is_refused(served, picture):
    answer = served.post_form({'a': picture, 'b': picture}, f'{SMALL}&format=jpg')
    assert (answer.status, answer.error) == (422, 'a picture is drawn of one image; send one, or ask for JSON')


@pytest.mark.parametrize(
    ('method', 'path', 'status'),
    [('GET', '/predict', 405), ('DELETE', '/', 405), ('GET', '/../../etc/passwd', 404), ('GET', '/%00', 404)]
    + [
        ('GET', '/docs', 404),
        ('POST', '/predict/', 404),
        ('GET', '/page.js/../app.py', 404),
        ('HEAD', '/', 200),
        ('HEAD', '/health', 200),
    ],
)
def test_other_paths_and_methods(method, path, status, served):
    assert served.request(method, path).status == status


def test_every_answer_has_the_headers_of_security(served, picture):
    answers = [served.get('/'), served.get('/nowhere'), served.post(picture), served.post(b'x'), served.get('/page.js')]
    for answer in answers:
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert "script-src 'self'" in answer.headers['Content-Security-Policy']
        assert 'unsafe' not in answer.headers['Content-Security-Policy']
        assert 'Access-Control-Allow-Origin' not in answer.headers and 'Server' not in answer.headers


# Bodies that are too large, slow, or not what their head says.


def test_a_body_that_says_it_is_too_large_is_not_read(served):
    """Nothing of it is sent, so that the answer cannot have waited for it."""
    answer = served.raw(head('Content-Type: image/png', f'Content-Length: {MAX_BYTES + 1}'))
    assert b'413 ' in answer.split(b'\r\n')[0] and b'larger than 200,000 bytes' in answer
    assert b'\r\nconnection: close' in answer.lower()


def test_an_endless_body_is_refused_while_it_streams(served):
    """It is sent in chunks for as long as the server takes them; the answer arrives although nobody stops sending."""
    with socket.create_connection(('127.0.0.1', served.port), timeout=10) as sock:
        sock.sendall(head('Content-Type: application/octet-stream', 'Transfer-Encoding: chunked'))
        sent = 0
        try:
            while sent < 300 << 20:
                sock.sendall(b'10000\r\n' + bytes(0x10000) + b'\r\n')
                sent += 0x10000
        except OSError:
            pass
        assert sent < 300 << 20


def test_the_answer_to_a_large_body_arrives(served):
    """Clients that send all before they read see the answer, not a broken connection."""
    for kind in ('image/png', FORM['kind']):
        answer = served.post(multipart({'a': bytes(3 << 20)}), kind=kind)
        assert answer.status == 413


def test_expect_continue_is_answered_before_the_body(served, picture):
    lines = ('Content-Type: image/png', 'Expect: 100-continue')
    answer = served.raw(head(*lines, f'Content-Length: {MAX_BYTES + 1}'))
    assert answer.startswith(b'HTTP/1.1 413 ')
    with socket.create_connection(('127.0.0.1', served.port), timeout=10) as sock:
        sock.sendall(head(*lines, f'Content-Length: {len(picture)}', 'Connection: close'))
        assert sock.recv(100).startswith(b'HTTP/1.1 100 ')
        sock.sendall(picture)
        assert b' 200 ' in read_all(sock).split(b'\r\n')[0]


def test_a_slow_body_is_given_up(served):
    """One byte at a time, which would take minutes."""
    with socket.create_connection(('127.0.0.1', served.port), timeout=10) as sock:
        sock.sendall(head('Content-Type: image/png', 'Content-Length: 5000'))
        done = threading.Event()

        def drip() -> None:
            try:
                while not done.wait(0.05):
                    sock.sendall(b'x')
            except OSError:
                return

        thread = threading.Thread(target=drip)
        thread.start()
        answer = read_all(sock)
        done.set()
        thread.join()
    assert answer.startswith(b'HTTP/1.1 408 ') and b'did not arrive within 0.5 s' in answer


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('start', [b'', b'POST /predict HTTP/1.1\r\nHost: x\r\nX-A: '], ids=['nothing', 'half a head'])
@pytest.mark.parametrize('second', [False, True], ids=['first request', 'second request'])
def test_a_slow_head_is_given_up(start, second, served):
    with socket.create_connection(('127.0.0.1', served.port), timeout=10) as sock:
        if second and start:
            sock.sendall(b'GET /health HTTP/1.1\r\nHost: x\r\n\r\n')
            answer = b''
            while not answer.endswith(b'}'):  # head and body may come apart
                answer += sock.recv(1 << 16)
            assert answer.startswith(b'HTTP/1.1 200 ')
        sock.sendall(start)
        assert read_all(sock) == b''


@pytest.mark.parametrize(
    ('request_bytes', 'status'),
    {
        'garbage': (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\r\n\r\n', b'400'),
        'no host': (b'GET /health HTTP/1.1\r\n\r\n', b'400'),
        'two lengths': (head('Content-Length: 3', 'Content-Length: 4') + b'abc', b'400'),
        'a negative length': (head('Content-Length: -3') + b'abc', b'400'),
        'a length in words': (head('Content-Length: three') + b'abc', b'400'),
        'an endless length': (head('Content-Type: image/png', 'Content-Length: ' + '9' * 30), b'4'),
        'a broken chunk': (head('Content-Type: image/png', 'Transfer-Encoding: chunked') + b'zz\r\nabc', b''),
        'another encoding': (head('Transfer-Encoding: gzip') + b'abc', b'400'),
        'long headers': (head('X-A: ' + 'a' * 200_000), b'400'),
        'a space in a name': (head('X A: 1'), b'400'),
        'http 1.0': (b'GET /health HTTP/1.0\r\n\r\n', b'200'),
        'http 2': (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', b''),
        'an upgrade': (
            b'GET /health HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n',
            b'200',
        ),
    }.values(),
)
def test_odd_http(request_bytes, status, served):
    answer = served.raw(request_bytes)
    first = answer.split(b'\r\n')[0]
    assert b'500' not in first
    assert not status or b' ' + status in first, first


@pytest.mark.parametrize('kind', ['image/png', 'text/plain'], ids=['is read', 'is refused'])
def test_a_body_that_turns_out_to_be_no_http_is_no_fault(kind, served, caplog):
    """The application is reading the body, or has answered without it, when a chunk of it has no length."""
    with socket.create_connection(('127.0.0.1', served.port), timeout=10) as sock:
        sock.sendall(head(f'Content-Type: {kind}', 'Transfer-Encoding: chunked') + b'3\r\nabc\r\n')
        time.sleep(0.05)
        sock.sendall(b'no length\r\n')
        answer = read_all(sock)
    assert answer.startswith(b'HTTP/1.1 400 ' if kind == 'image/png' else b'HTTP/1.1 415 ')
    assert answer.count(b'HTTP/1.1') == 1
    assert served.metric('detkit_errors_total') == 0 and caplog.text == ''


def test_a_body_shorter_than_it_says_is_given_up(served, picture):
    length = len(picture) + 10
    answer = served.raw(head('Content-Type: image/png', f'Content-Length: {length}') + picture)
    assert answer.startswith(b'HTTP/1.1 408 ')


def test_a_body_longer_than_it_says_ends_the_connection(served, picture):
    request = head('Content-Type: image/png', f'Content-Length: {len(picture)}') + picture + b'tail\r\n\r\n'
    answer = served.raw(request)
    assert answer.startswith(b'HTTP/1.1 200 ') and b'HTTP/1.1 400 ' in answer


def test_chunks_and_two_requests_on_a_connection(served, picture):
    one = head('Content-Type: image/png', 'Transfer-Encoding: chunked') + chunked(picture[:7], picture[7:])
    two = head('Content-Type: image/png', f'Content-Length: {len(picture)}', 'Connection: close') + picture
    answer = served.raw(one + two)
    assert answer.count(b'HTTP/1.1 200 ') == 2


def test_a_client_that_goes_leaves_nothing_behind(small_detector, picture, served):
    """It goes while its image waits; the image is not run."""
    model, gate = ServedModel(small_detector, LIMITS), threading.Event()
    run, ran = model.run, []

    def held(key, images):
        ran.extend(images)
        assert gate.wait(20)
        return run(key, images)

    model.run = held
    with running(model, batch_size=1) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, picture)
        wait_until(lambda: ran)
        with socket.create_connection(('127.0.0.1', client.port)) as sock:
            sock.sendall(head('Content-Type: image/png', f'Content-Length: {len(picture)}') + picture)
            wait_until(lambda: client.metric('detkit_queue_images') == 2)
        wait_until(lambda: client.metric('detkit_queue_images') == 1)
        gate.set()
        assert first.result().status == 200
        assert client.post(picture).status == 200
    assert len(ran) == 2


def test_a_full_queue_says_when_to_come_again(small_detector, picture, served):
    model, gate = ServedModel(small_detector, LIMITS), threading.Event()
    run = model.run
    model.run = lambda key, images: (gate.wait(20), run(key, images))[1]
    with running(model, max_queue=3, max_images=3) as client, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.post, picture) for _ in range(3)]
        wait_until(lambda: client.metric('detkit_queue_images') == 3)
        answer = client.post(picture)
        assert (answer.status, answer.headers['Retry-After']) == (503, '1') and 'waiting already' in answer.error
        assert client.get('/health').status == 200
        gate.set()
        assert [each.result().status for each in waiting] == [200] * 3
        assert client.post(picture).status == 200


def test_bodies_share_a_limit_of_memory(small_detector, served):
    with running(ServedModel(small_detector, LIMITS), max_body_memory=100_000, max_bytes=90_000) as client:
        with socket.create_connection(('127.0.0.1', client.port)) as sock:
            sock.sendall(head('Content-Type: image/png', 'Content-Length: 80000') + bytes(70_000))

            def refused() -> bool:
                return client.post(bytes(60_000)).status == 503

            wait_until(refused)
        wait_until(lambda: not refused())


def test_more_connections_than_allowed_are_closed(small_detector, served):
    with running(ServedModel(small_detector, LIMITS), max_connections=5) as client:
        idle = [socket.create_connection(('127.0.0.1', client.port), timeout=10) for _ in range(12)]
        for sock in idle:
            sock.settimeout(0.3)
        closed = 0
        for sock in idle:
            try:
                closed += sock.recv(1) == b''
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                continue
        assert closed == 7
        for sock in idle:
            sock.close()
        wait_until(lambda: client.get('/health').status == 200)


def test_a_request_that_takes_too_long_is_given_up(small_detector, picture, served):
    model, gate = ServedModel(small_detector, LIMITS), threading.Event()
    run = model.run
    model.run = lambda key, images: (gate.wait(20), run(key, images))[1]
    with running(model, deadline_seconds=1.0) as client:
        answer = client.post(picture)
        assert (answer.status, answer.error) == (504, 'there was no answer within 1 s')
        gate.set()
        wait_until(lambda: client.metric('detkit_queue_images') == 0)
        assert client.post(picture).status == 200


@pytest.mark.thorough
def test_a_client_that_does_not_read_its_answer_is_given_up(small_detector, picture, served, monkeypatch):
    monkeypatch.setattr('detkit.serving.app.json_answer', lambda _: Response(bytes(64 << 20)))
    with running(ServedModel(small_detector, LIMITS), deadline_seconds=1.0) as client:
        with socket.create_connection(('127.0.0.1', client.port), timeout=20) as sock:
            sock.sendall(head('Content-Type: image/png', f'Content-Length: {len(picture)}') + picture)
            wait_until(lambda: client.metric('detkit_requests_total{path="/predict",status="200"}') == 1)
            assert len(read_all(sock)) < 64 << 20


def test_a_model_that_hangs_is_reported(small_detector, picture, served, monkeypatch):
    model, gate = ServedModel(small_detector, LIMITS), threading.Event()
    run = model.run
    model.run = lambda key, images: (gate.wait(20), run(key, images))[1]
    monkeypatch.setattr('detkit.serving.app._STUCK_SECONDS', 0.2)
    with running(model) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, picture)
        wait_until(lambda: client.get('/health').status == 503)
        assert client.get('/health').json == {'status': 'stuck'}
        gate.set()
        assert waiting.result().status == 200
        assert client.get('/health').json == {'status': 'ready'}


# Faults of the model, and who may ask.


def test_a_fault_of_the_model_is_logged_and_not_told(small_detector, picture, pictures, served, caplog):
    """Nor does it reach the images that share its batch."""
    model = ServedModel(small_detector, LIMITS)
    run = model.run

    def faulty(key, images):
        if any(image.name == 'bad.png' for image in images):
            raise ZeroDivisionError('a secret of the model')
        return run(key, images)

    model.run = faulty
    with running(model, max_wait_ms=200) as client, ThreadPoolExecutor(4) as pool:
        with caplog.at_level(logging.ERROR):
            names = ['good.png', 'bad.png', 'fine.png', 'well.png']
            answers = list(pool.map(lambda name: client.post_form({name: picture}), names))
        assert [answer.status for answer in answers] == [200, 500, 200, 200]
        assert answers[1].error == 'the server failed; its log says why'
        assert 'a secret of the model' in caplog.text
        assert client.metric('detkit_errors_total') == 1
        assert client.metric('detkit_requests_total{path="/predict",status="500"}') == 1


def test_a_token_is_demanded_where_one_is_set(small_detector, picture, served):
    token = 'correct horse battery staple'
    with running(ServedModel(small_detector, LIMITS), token=token) as client:
        for wrong in ({}, {'Authorization': 'Bearer x'}, {'Authorization': token}, {'Authorization': f'Basic {token}'}):
            for answer in (
                client.post(picture, **wrong),
                client.get('/info', **wrong),
                client.get('/metrics', **wrong),
            ):
                assert (answer.status, answer.headers['WWW-Authenticate']) == (401, 'Bearer')
        assert client.post(picture, Authorization=f'Bearer {token}').status == 200
        assert client.get('/health').status == client.get('/').status == 200


def test_pages_of_other_sites_are_refused_unless_allowed(small_detector, picture, served):
    other = {'Origin': 'https://example.org', 'Sec_Fetch_Site': 'cross-site'}
    assert served.post(picture, **other).status == 403
    asks = {**other, 'Access_Control_Request_Method': 'POST', 'Access_Control_Request_Headers': 'authorization'}
    assert served.request('OPTIONS', '/predict', **asks).status == 405
    with running(ServedModel(small_detector, LIMITS), cors_origins=('https://example.org',)) as client:
        answer = client.request('OPTIONS', '/predict', **asks)
        assert (answer.status, answer.headers['Access-Control-Allow-Origin']) == (200, 'https://example.org')
        answer = client.post(picture, **other)
        assert (answer.status, answer.headers['Access-Control-Allow-Origin']) == (200, 'https://example.org')
        assert client.post(picture, **{**other, 'Origin': 'https://example.com'}).status == 403


def test_formats_of_images_and_orientation(served, small_detector):
    img = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    for kind in ('JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF', 'GIF'):
        file = io.BytesIO()
        Image.fromarray(img).save(file, kind)
        assert served.post(file.getvalue(), kind='image/x').json['results'][0]['img_shape'] == [40, 64], kind
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(img).save(file, 'JPEG', exif=exif)
    assert served.post(file.getvalue()).json['results'][0]['img_shape'] == [64, 40]


@pytest.mark.parametrize(
    'wrong',
    [
        {'batch_size': 0},
        {'batch_size': 2.5},
        {'max_wait_ms': -1},
        {'deadline_seconds': float('inf')},
        {'max_queue': 3},
        {'token': 'short'},
        {'cors_origins': ('example.org',)},
        {'cors_origins': ('https://example.org/',)},
        {'allow_urls': ('https://example.org',)},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ServeSettings(**wrong)


def test_base64_of_the_whole_limit_fits(small_detector, served):
    """The limit is that of the body, however it is written."""
    text = base64.b64encode(bytes(MAX_BYTES * 3 // 4 - 100)).decode()
    assert served.post_json({'images': [text]}).status == 422  # it was read: no image
    assert served.post_json({'images': [text + 'A' * 4000]}).status == 413


def test_the_helpers_client_is_one_of_http(served: Client):
    assert served.raw(b'GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n').endswith(b'{"status":"ready"}')
