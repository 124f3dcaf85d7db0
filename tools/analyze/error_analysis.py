"""What costs a model its average precision: wrong class, wrong place, doubles, background, missed objects.

python tools/analyze/error_analysis.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth --out errors
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='What costs a model its average precision.')
    parser.add_argument('config', help='config file, e.g. configs/yolov8/seg_n_coco8.py')
    parser.add_argument('checkpoint', help='checkpoint file (.pth)')
    parser.add_argument('--out', metavar='FOLDER', default='errors', help='where the files go (default: errors)')
    parser.add_argument(
        '--kind',
        choices=['bbox', 'segm', 'keypoints', 'rbbox'],
        help="what overlaps (default: what the config's metric evaluates last)",
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.25,
        help='predictions below it are neither counted nor shown (default: 0.25)',
    )
    parser.add_argument('--examples', type=int, default=12, help='pictures of each kind of error (default: 12)')
    parser.add_argument('--split', choices=['test', 'val', 'train'], default='test', help='as for tools/test.py')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the accelerator, if there is one)')
    parser.add_argument('--batch-size', type=int, help="images at a time (default: the config's)")
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of the config')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.evaluated_model import evaluate_model
    from detkit.analysis.errors.evaluation_report import write_errors
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    model = evaluate_model(args.config, args.checkpoint, args.cfg_options, settings)
    print(write_errors(model, args.out, args.kind, args.score_thr, args.examples))
    print(f'errors.png, errors.json and a sheet of examples of each kind in {args.out}')


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
