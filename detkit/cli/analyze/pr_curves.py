"""Plot precision against recall, and precision, recall and F1 against the score threshold.

detkit analyze pr-curves yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth --out curves
"""

import argparse

from detkit.cli.arguments import add_shared_arguments
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(
        parser, 'config', 'checkpoint', '--kind', '--iou-thr', '--split', '--device', '--batch-size', '--cfg-options'
    )
    parser.add_argument('--out', metavar='FOLDER', default='curves', help='folder of the files (default: curves)')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.evaluated_model import ModelEvaluation
    from detkit.analysis.errors.precision_recall import write_curves
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    model = ModelEvaluation(args.config, args.checkpoint, args.cfg_options, settings).run()
    print(write_curves(model, args.out, args.kind, args.iou_thr))
    print(f'pr_curve.png, precision_curve.png, recall_curve.png, f1_curve.png and curves.csv in {args.out}')
