"""Detect objects in images and videos, or classify images, with a trained model.

detkit predict yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth photo.jpg
detkit predict yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth photos --save-txt --save-csv
detkit predict yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth aerial.png --tile 640
detkit predict - work_dirs/seg_n_coco8/best.pth clip.mp4 --frame-stride 2
detkit predict - work_dirs/seg_n_coco8/best.onnx photos
"""

import argparse

from detkit.cli.arguments import (
    add_option_arguments,
    add_shared_arguments,
    add_video_arguments,
    given_options,
    import_given,
)
from detkit.cli.command import CommandParser
from detkit.inference import FolderOutputs, PredictionOptions
from detkit.visualization import DrawingOptions


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument('config', help="config file, or '-' for the config that the checkpoint holds")
    parser.add_argument('checkpoint', help='checkpoint (.pth), or exported file (.onnx, .xml)')
    parser.add_argument(
        'source',
        nargs='+',
        help="images, videos, folders, patterns in quotes, lists of files (.txt), addresses, or a camera's number",
    )
    parser.add_argument('--out-dir', default='predictions', help='folder for the results (default: predictions)')
    add_option_arguments(parser, PredictionOptions)
    add_video_arguments(parser)
    add_shared_arguments(parser, '--device', '--runtime', '--custom-imports')
    add_option_arguments(parser, FolderOutputs)
    add_option_arguments(parser, DrawingOptions)
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of the config')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.inference import Predictor, find_sources, require_images, require_read
    from detkit.inference.to_folder import predict_to_folder
    from detkit.inference.video import with_options

    import_given(args)
    sources = require_images(find_sources(args.source))  # a mistyped source is found before the model is built
    sources = with_options(sources, args.frame_stride, args.start, args.stop)
    predictor = Predictor(
        None if args.config == '-' else args.config,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        runtime=args.runtime,
        **given_options(args, PredictionOptions),
    )
    outputs = FolderOutputs(**given_options(args, FolderOutputs))
    require_read(predict_to_folder(predictor, sources, args.out_dir, outputs, given_options(args, DrawingOptions)))
