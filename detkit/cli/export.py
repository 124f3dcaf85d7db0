"""Export a model to ONNX, OpenVINO, ncnn, ExecuTorch or another format, and check the file against PyTorch.

The file is loaded back by its runtime and run on pictures. The largest differences of boxes and scores from PyTorch are
printed; above the tolerance the file is kept under another name, and the exit status is 2. It holds all that prediction
needs besides pictures: detkit predict, test and serve take it in place of a checkpoint.

detkit export work_dirs/seg_n_coco8/best.pth
detkit export work_dirs/seg_n_coco8/best.pth --format openvino --half --images photos
detkit export work_dirs/seg_n_coco8/best.pth --dynamic --batch-size 4
detkit export yolov8n --nms --score-thr 0.4 --out detector.onnx
detkit export best.pth --format openvino --int8 --calibration images/train --data data.yaml
"""

import argparse

from detkit.cli.arguments import add_option_arguments, add_shared_arguments, given_options, import_given
from detkit.cli.command import CommandParser
from detkit.export import ExportSettings


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'model', help="checkpoint (.pth), a run's folder, another project's weights, or a name of detkit zoo list"
    )
    parser.add_argument('--out', metavar='FILE', help="file to write (default: the model's, with the format's suffix)")
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='IMAGE',
        help="files, folders and patterns to check with (default: drawn ones, of int8 eight of the calibration's)",
    )
    parser.add_argument(
        '--data', metavar='DATA', help='data with annotations to test the model and the file on, such as a data.yaml'
    )
    add_option_arguments(parser, ExportSettings)
    add_shared_arguments(parser, '--custom-imports')
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    if args.dynamic and 'none' in args.dynamic and len(args.dynamic) > 1:
        return "argument --dynamic: 'none' stands alone"
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.api import Detector

    import_given(args)
    settings = given_options(args, ExportSettings)
    if args.dynamic == ['none']:
        settings['dynamic'] = False
    Detector(args.model, device='cpu').export(path=args.out, images=args.images, data=args.data, **settings)
