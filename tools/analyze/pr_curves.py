"""Plot precision against recall, and precision, recall and F1 against the score threshold.

python tools/analyze/pr_curves.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth --out curves
"""

import argparse
import sys

from detkit.utils.command_line import run_command, shared_arguments


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Plot precision, recall and F1 curves, class by class.',
        parents=[
            shared_arguments(
                'config', 'checkpoint', '--kind', '--iou-thr', '--split', '--device', '--batch-size', '--cfg-options'
            )
        ],
    )
    parser.add_argument('--out', metavar='FOLDER', default='curves', help='folder of the files (default: curves)')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.evaluated_model import ModelEvaluation
    from detkit.analysis.errors.precision_recall import write_curves
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    model = ModelEvaluation(args.config, args.checkpoint, args.cfg_options, settings).run()
    print(write_curves(model, args.out, args.kind, args.iou_thr))
    print(f'pr_curve.png, precision_curve.png, recall_curve.png, f1_curve.png and curves.csv in {args.out}')


if __name__ == '__main__':
    sys.exit(run_command(main))
