"""Many clients at once and many requests in a row: none is lost, and nothing is left of them."""

from __future__ import annotations

import gc
import http.client
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving_helpers import LIMITS, SMALL, Client, running

from detkit.serving.model import ServedModel


def send_many(client: Client, data: bytes, count: int) -> list[tuple[int, int]]:
    """Return the status of each of so many requests on one connection, and how many objects were found."""
    connection = http.client.HTTPConnection('127.0.0.1', client.port, timeout=60)
    found = []
    for _ in range(count):
        connection.request('POST', f'/predict?{SMALL}', data, {'Content-Type': 'image/png'})
        answer = connection.getresponse()
        content = json.loads(answer.read())
        found.append((answer.status, len(content['results'][0]['objects']) if answer.status == 200 else -1))
    connection.close()
    return found


def test_fifty_clients_lose_no_request(small_detector, pictures):
    with running(ServedModel(small_detector, LIMITS), batch_size=8) as client:
        alone = {path: send_many(client, path.read_bytes(), 1)[0] for path in pictures[:2]}
        with ThreadPoolExecutor(50) as pool:
            sent = [pictures[number % 2] for number in range(50)]
            found = list(pool.map(lambda path: send_many(client, path.read_bytes(), 4), sent))
        assert found == [[alone[path]] * 4 for path in sent]
        assert client.metric('detkit_requests_total{path="/predict",status="200"}') == 202
        assert client.metric('detkit_batch_size_sum') == 202
        assert client.metric('detkit_batch_size_count') < 150  # they shared batches


def test_the_answers_of_a_full_server_are_all_answers(small_detector, picture):
    """Of more clients than there is room for, each gets 200 or 503, and none hangs."""
    with (
        running(ServedModel(small_detector, LIMITS), max_queue=8, max_images=8) as client,
        ThreadPoolExecutor(40) as pool,
    ):
        statuses = [
            status for each in pool.map(lambda _: send_many(client, picture, 3), range(40)) for status, _ in each
        ]
        assert len(statuses) == 120 and set(statuses) <= {200, 503} and statuses.count(200) >= 8
        assert client.metric('detkit_queue_images') == 0


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is read from /proc')
def test_memory_stays_flat(small_detector, pictures):
    """Over requests of many options, shapes, broken images and clients that go; threads and connections, too."""

    def resident() -> int:
        gc.collect()
        with open('/proc/self/statm') as file:
            return int(file.read().split()[1]) * 4096

    with running(ServedModel(small_detector, LIMITS)) as client:

        def rounds(first: int, count: int) -> None:
            for number in range(first, first + count):
                data = pictures[number % len(pictures)].read_bytes()
                client.post(data, f'{SMALL}&score_thr={(number % 900) / 1000}')
                client.post(data[: number % 200])
                client.post(bytes(number % 7000), kind='multipart/form-data; boundary=XX')

        rounds(0, 40)
        before, threads = resident(), threading.active_count()
        rounds(40, 80)
        assert resident() - before < 24 << 20
        assert threading.active_count() <= threads + 1
