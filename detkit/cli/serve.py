"""Serve a model over HTTP: predictions for programs, and one page for people.

POST an image to /predict: as a file of a form, as the bytes of a file, or in JSON as base64. The options of a
prediction are those of the query (?score_thr=0.5); the answer is JSON, or a picture (?format=jpg). /health, /metrics
and /info describe the server and its model; the page at / shows what is found in a picture. Where the environment
variable DETKIT_SERVE_TOKEN is set, requests must send that token.

detkit serve work_dirs/seg_n_coco8/best.pth
detkit serve work_dirs/seg_n_coco8/best.pth --port 9000 --batch-size 16 --max-wait-ms 10
detkit serve yolov8n --host 0.0.0.0 --allow-urls images.example.org
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, import_given
from detkit.cli.command import CommandParser

TOKEN_VARIABLE = 'DETKIT_SERVE_TOKEN'
_LOOPBACK = ('127.0.0.1', '::1', 'localhost')
# The settings that are arguments of the same name: type, unit and help. Their defaults are those of ServeSettings.
_NUMBERS = {
    'batch_size': (int, 'IMAGES', 'most images that the network gets at a time'),
    'max_wait_ms': (float, 'MS', 'time that an image waits for others that are on their way'),
    'max_queue': (int, 'IMAGES', 'most images that are accepted and not answered yet; others get status 503'),
    'max_bytes': (int, 'BYTES', 'most bytes of a request'),
    'max_pixels': (int, 'PIXELS', 'most pixels of an image'),
    'max_mask_pixels': (int, 'PIXELS', 'most pixels of an image times the objects asked for, where these have masks'),
    'max_images': (int, 'IMAGES', 'most images of a request'),
    'max_connections': (int, 'N', 'most connections at a time'),
    'body_seconds': (float, 'SECONDS', "time that a request's body may take to arrive"),
    'deadline_seconds': (float, 'SECONDS', 'time that a request may take as a whole'),
}


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'model',
        help="checkpoint (.pth), exported file (.onnx, .xml), a run's folder, another project's weights, or a name of "
        'detkit zoo list',
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to listen at (default: this machine alone)')
    parser.add_argument('--port', type=int, default=8000, help='port to listen at; 0 for any (default: 8000)')
    add_shared_arguments(parser, '--device', '--runtime', '--custom-imports')
    parser.add_argument('--amp', action='store_true', help='mixed precision: faster, slightly different results')
    parser.add_argument('--threads', type=int, metavar='N', help="threads of the network on a CPU (default: PyTorch's)")
    for name, (kind, unit, text) in _NUMBERS.items():
        parser.add_argument(f'--{name.replace("_", "-")}', type=kind, metavar=unit, help=text)
    parser.add_argument(
        '--allow-urls', nargs='+', metavar='HOST', help="hosts whose images are fetched, '*' for any (default: none)"
    )
    parser.add_argument('--allow-private-urls', action='store_true', help='fetch from hosts in private networks, too')
    parser.add_argument(
        '--cors-origins', nargs='+', metavar='ORIGIN', help='web origins whose pages may use the server (default: none)'
    )
    parser.without_effect(lambda args: not args.allow_urls, '--allow-private-urls', why='without --allow-urls')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    import logging
    import os
    from pathlib import Path

    from detkit.api import Detector
    from detkit.serving import ServeSettings, create_app, serve
    from detkit.serving.model import ServedModel
    from detkit.serving.server import listen, set_threads
    from detkit.utils.printable import printable

    import_given(args)
    given = {name: getattr(args, name) for name in _NUMBERS if getattr(args, name) is not None}
    settings = ServeSettings(
        **given,
        allow_urls=tuple(args.allow_urls or ()),
        allow_private_urls=args.allow_private_urls,
        cors_origins=tuple(args.cors_origins or ()),
        token=os.environ.get(TOKEN_VARIABLE) or None,
    )
    logging.basicConfig(format='%(asctime)s %(levelname)s %(name)s: %(message)s')
    set_threads(args.threads)
    with listen(args.host, args.port) as sock:  # a port that is taken is found before the model is built
        detector = Detector(args.model, device=args.device, runtime=args.runtime)
        model = ServedModel(detector, settings, args.amp)
        model.warm_up(settings.batch_size)
        name = Path(args.model).name
        app = create_app(model, settings, name)
        host = f'[{args.host}]' if ':' in args.host else args.host
        lines = [f'{printable(name)} ({model.detector.task}, {len(model.detector.classes)} classes) is served at ']
        lines[0] += f'http://{host}:{sock.getsockname()[1]}/'
        if args.host not in _LOOPBACK and settings.token is None:
            lines.append(f'anyone who reaches it may use it; set {TOKEN_VARIABLE} to demand a token')
        serve(app, settings, sock, lambda: print('\n'.join(lines), flush=True))
        print('stopped')
