"""Draw the confusion matrix of a model, with background as a class of its own.

detkit analyze confusion-matrix yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, share
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(
        parser, 'config', 'checkpoint', '--kind', '--iou-thr', '--split', '--device', '--batch-size', '--cfg-options'
    )
    parser.add_argument('--out', metavar='FOLDER', default='confusion', help='folder of the files (default: confusion)')
    parser.add_argument(
        '--score-thr', type=share, default=0.25, help='least score of a prediction that counts (default: 0.25)'
    )


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.confusion import write_confusion_matrix
    from detkit.analysis.errors.evaluated_model import ModelEvaluation
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    model = ModelEvaluation(args.config, args.checkpoint, args.cfg_options, settings).run()
    print(write_confusion_matrix(model, args.out, args.kind, args.score_thr, args.iou_thr))
    print(f'confusion_matrix.png and .csv in {args.out}')
