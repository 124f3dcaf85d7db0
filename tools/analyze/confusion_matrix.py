"""Which classes a model takes for which, background included.

python tools/analyze/confusion_matrix.py configs/yolov8/seg_n_coco8.py work_dirs/seg_n_coco8/best.pth
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Which classes a model takes for which.')
    parser.add_argument('config', help='config file, e.g. configs/yolov8/seg_n_coco8.py')
    parser.add_argument('checkpoint', help='checkpoint file (.pth)')
    parser.add_argument('--out', metavar='FOLDER', default='confusion', help='where the files go (default: confusion)')
    parser.add_argument(
        '--kind',
        choices=['bbox', 'segm', 'keypoints', 'rbbox'],
        help="what overlaps (default: what the config's metric evaluates last)",
    )
    parser.add_argument(
        '--score-thr', type=float, default=0.25, help='predictions below it do not count (default: 0.25)'
    )
    parser.add_argument('--iou-thr', type=float, default=0.5, help='least overlap of a match (default: 0.5)')
    parser.add_argument('--split', choices=['test', 'val', 'train'], default='test', help='as for tools/test.py')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the accelerator, if there is one)')
    parser.add_argument('--batch-size', type=int, help="images at a time (default: the config's)")
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of the config')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.evaluated_model import evaluate_model
    from detkit.analysis.errors.evaluation_report import write_confusion_matrix
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    model = evaluate_model(args.config, args.checkpoint, args.cfg_options, settings)
    print(write_confusion_matrix(model, args.out, args.kind, args.score_thr, args.iou_thr))
    print(f'confusion_matrix.png and .csv in {args.out}')


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
