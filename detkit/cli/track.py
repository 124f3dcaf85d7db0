"""Follow objects through videos: each gets a number that stays with it.

Beside each video with its tracks drawn there is a text in MOTChallenge's format. Images, such as those of a folder, are
taken for the frames of one video. --score-thr is 0.1 by default, as trackers use boxes of low scores too.

detkit track work_dirs/seg_n_coco8/best.pth clip.mp4
detkit track work_dirs/seg_n_coco8/best.pth clip.mp4 --tracker ocsort --classes person --frame-stride 2
detkit track yolov8n rtsp://192.168.0.20/stream --no-pictures
"""

import argparse

from detkit.cli.arguments import (
    Switch,
    add_option_arguments,
    add_shared_arguments,
    add_video_arguments,
    given_options,
    import_given,
    real,
)
from detkit.cli.command import CommandParser
from detkit.inference import PredictionOptions
from detkit.visualization.drawing_options import DrawingOptions


def add_arguments(parser: CommandParser, out_dir: str = 'tracks') -> None:
    parser.add_argument(
        'model',
        help="checkpoint (.pth), exported file (.onnx, .xml), a run's folder, another project's weights, or a name of "
        'detkit zoo list',
    )
    parser.add_argument(
        'source',
        nargs='+',
        help="videos, folders, patterns in quotes, lists of files (.txt), addresses, or a camera's number",
    )
    parser.add_argument('--out-dir', default=out_dir, help=f'folder for the results (default: {out_dir})')
    parser.add_argument(
        '--tracker',
        default='bytetrack',
        help='bytetrack, sort, ocsort, botsort, cbiou, or one of your own (default: bytetrack)',
    )
    parser.add_argument('--max-lost', type=real(0), metavar='SECONDS', help='time a track waits for its object')
    add_option_arguments(
        parser, PredictionOptions, score_thr='lowest score of a prediction, which trackers choose among (default: 0.1)'
    )
    add_video_arguments(parser)
    add_shared_arguments(parser, '--device', '--runtime', '--custom-imports')
    parser.add_argument('--pictures', action=Switch, default=True, help='write videos with the tracks drawn')
    add_option_arguments(parser, DrawingOptions)


def run(args: argparse.Namespace) -> None:
    track(args, [])


def track(args: argparse.Namespace, areas: list) -> None:
    """Track, and count at ``areas``."""
    # Only now, so that --help needs no torch.
    from detkit.api import Detector
    from detkit.inference import Predictor, find_sources, require_images, require_read
    from detkit.inference.track_to_folder import track_to_folder
    from detkit.inference.tracking import with_low_scores
    from detkit.inference.video import with_options

    import_given(args)
    sources = require_images(find_sources(args.source))  # a mistyped source is found before the model is built
    sources = with_options(sources, args.frame_stride, args.start, args.stop)
    options = with_low_scores(PredictionOptions(**given_options(args, PredictionOptions)))
    tracker = {'type': args.tracker, **({} if args.max_lost is None else {'max_lost': args.max_lost})}
    detector = Detector(args.model, device=args.device, runtime=args.runtime)
    predictor = Predictor(model=detector.model_for(options.amp), **vars(options))
    drawing = given_options(args, DrawingOptions)
    anchor = args.anchor if areas else 'center'
    frames = track_to_folder(predictor, sources, args.out_dir, tracker, args.pictures, drawing, areas, anchor)
    require_read(frames)
