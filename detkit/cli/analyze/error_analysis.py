"""Count the errors of a model by type, and the average precision lost to each type (TIDE).

detkit analyze error-analysis yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth --out errors
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, share, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(
        parser, 'config', 'checkpoint', '--kind', '--split', '--device', '--batch-size', '--cfg-options'
    )
    parser.add_argument('--out', metavar='FOLDER', default='errors', help='folder of the files (default: errors)')
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.25,
        help='least score of a prediction that is counted and drawn (default: 0.25)',
    )
    parser.add_argument('--examples', type=whole(0), default=12, help='pictures of each type of error (default: 12)')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.error_report import write_errors
    from detkit.analysis.errors.evaluated_model import ModelEvaluation
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    model = ModelEvaluation(args.config, args.checkpoint, args.cfg_options, settings).run()
    print(write_errors(model, args.out, args.kind, args.score_thr, args.examples))
    sheets = ' and a sheet of examples of each type' if args.examples else ''
    print(f'errors.png, errors.json{sheets} in {args.out}')
