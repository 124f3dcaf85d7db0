"""Requests a second that ``detkit serve`` answers to many clients at once, against the same server without batches.

    python benchmarks/serving.py work_dirs/seg_n_coco8/best.pth --clients 50 --requests 10

Both servers run on this machine, one after the other in turns, each as a process of its own; the clients are threads of
this one, each with one connection, which sends its next picture when it has the answer to the last one. A request is
lost when it gets no answer, or any but one with predictions. The status is 1 when one was lost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from arguments import device, positive, run

SHAPES = ((480, 640), (640, 480), (427, 640))


@dataclass
class Load:
    """The times and losses that clients measured, and the number of images in each batch of the server."""

    times: list[float] = field(default_factory=list)
    lost: int = 0
    seconds: float = 0.0
    images: float = 0.0
    batches: float = 0.0


@contextmanager
def serving(model: str, options: Sequence[str]) -> Iterator[int]:
    """Run ``detkit serve``, and give its port."""
    command = [sys.executable, '-m', 'detkit', 'serve', model, '--port', '0', *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    found = re.search(r' at http://\S+:(\d+)/', line)
    try:
        if found is None:
            sys.exit('the server did not start; its message is above')
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()
    if process.returncode:
        raise RuntimeError(f'the server ended with status {process.returncode}')


def drawn_pictures(count: int) -> list[bytes]:
    """Return JPEG files of smooth noise in three usual shapes."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        height, width = SHAPES[number % len(SHAPES)]
        img = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        found.append(cv2.imencode('.jpg', img)[1].tobytes())
    return found


def send(port: int, pictures: Sequence[bytes], query: str) -> tuple[list[float], int]:
    """Send pictures one after the other; return the seconds of those that were answered, and how many were lost."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=300)
    times, lost = [], 0
    for data in pictures:
        start = time.perf_counter()
        try:
            connection.request('POST', f'/predict?{query}', data, {'Content-Type': 'image/jpeg'})
            answer = connection.getresponse()
            content = json.loads(answer.read())
            answered = answer.status == 200 and content['results'][0]['error'] is None
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            connection.close()
            answered = False
        if answered:
            times.append(time.perf_counter() - start)
        lost += not answered
    connection.close()
    return times, lost


def metric(port: int, name: str) -> float:
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
    connection.request('GET', '/metrics')
    text = connection.getresponse().read().decode()
    connection.close()
    return float(re.search(rf'^{name} (\S+)$', text, re.MULTILINE)[1])


def measure(load: Load, port: int, clients: int, pictures: Sequence[bytes], query: str) -> None:
    """Let all clients send all pictures at once, each beginning with another one."""
    orders = [[*pictures[number % len(pictures) :], *pictures[: number % len(pictures)]] for number in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        for times, lost in pool.map(lambda order: send(port, order, query), orders):
            load.times += times
            load.lost += lost
        load.seconds += time.perf_counter() - start
    load.images += metric(port, 'detkit_batch_size_sum')
    load.batches += metric(port, 'detkit_batch_size_count')


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='checkpoint, as of detkit serve')
    parser.add_argument('--clients', type=positive, default=50, help='clients at a time (default: 50)')
    parser.add_argument('--requests', type=positive, default=10, help='requests of each client a round (default: 10)')
    parser.add_argument('--batch-size', type=positive, default=8, help='of the server with batches (default: 8)')
    parser.add_argument('--rounds', type=positive, default=2, help='turns of each server (default: 2)')
    parser.add_argument('--images', type=Path, help='folder of JPEG files (default: drawn ones)')
    parser.add_argument('--query', default='', help='options of the requests, such as score_thr=0.5')
    parser.add_argument('--device', type=device, default='cpu')
    args = parser.parse_args(argv)
    files = sorted(args.images.glob('*.jpg'))[: args.requests] if args.images else ()
    if args.images and not files:
        parser.error(f'--images {args.images} is no folder with pictures (.jpg)')
    pictures = [path.read_bytes() for path in files] or drawn_pictures(args.requests)
    loads = {'no batches': (1, Load()), f'batches of {args.batch_size}': (args.batch_size, Load())}
    room = str(max(128, 2 * args.clients))
    for _ in range(args.rounds):
        for size, load in loads.values():
            options = ('--device', args.device, '--batch-size', str(size), '--max-queue', room)
            with serving(args.model, (*options, '--deadline-seconds', '300')) as port:
                send(port, pictures[:1], args.query)
                measure(load, port, args.clients, pictures, args.query)
    print(f'{args.clients} clients, {args.rounds * len(pictures)} requests each')
    print(f'{"":14} {"requests/s":>10} {"p50 ms":>8} {"p95 ms":>8} {"images a batch":>15} {"lost":>5} {"ratio":>6}')
    baseline = None
    for name, (_, load) in loads.items():
        rate = len(load.times) / load.seconds
        baseline = rate if baseline is None else baseline
        middle, late = np.percentile(load.times or [np.nan], [50, 95]) * 1000
        size = load.images / max(load.batches, 1)
        ratio = rate / baseline if baseline else math.nan
        print(f'{name:14} {rate:10.1f} {middle:8.0f} {late:8.0f} {size:15.2f} {load.lost:5} {ratio:6.2f}')
    return int(any(load.lost for _, load in loads.values()))


if __name__ == '__main__':
    sys.exit(run(main))
