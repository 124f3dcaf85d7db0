"""Look at a config's data: images with their annotations, and what the pipeline makes of them, mosaic included.

    python tools/analyze/browse_dataset.py configs/yolov8/seg_n_coco8.py
    python tools/analyze/browse_dataset.py configs/yolov8/det_coco.py --class 'fire hydrant' --number 24
    python tools/analyze/browse_dataset.py configs/yolov8/seg_n_coco8.py --indices 0 3 --epochs 1 2 100

The sheets show exactly what a training run with the same seed is given in that epoch.
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Sheets of a config's data, before and after the pipeline.")
    parser.add_argument('config', help='config file, e.g. configs/yolov8/seg_n_coco8.py')
    parser.add_argument('--out', metavar='FOLDER', default='browsed', help='where the sheets go (default: browsed)')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='train',
        help='the data loader to look into (default: train)',
    )
    parser.add_argument('--number', type=int, default=8, help='how many images (default: 8)')
    parser.add_argument(
        '--indices',
        type=int,
        nargs='+',
        default=[],
        metavar='N',
        help="these images, counted from 0 in the dataset's order, instead of the first ones of the epoch",
    )
    parser.add_argument('--class', dest='class_name', metavar='NAME', help='only images that show this class')
    parser.add_argument(
        '--epochs',
        type=int,
        nargs='+',
        default=[1],
        metavar='N',
        help='epochs of which to show the augmentation, counted from 1 (default: 1)',
    )
    parser.add_argument(
        '--stage',
        choices=['both', 'before', 'after'],
        default='both',
        help='images as they are, as the pipeline makes them, or both (default: both)',
    )
    parser.add_argument('--rows', type=int, default=4, help='of a sheet (default: 4)')
    parser.add_argument('--seed', type=int, help="of the run (default: the config's, or 0)")
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of the config')
    args = parser.parse_args(argv)
    if min(args.number, args.rows, *args.epochs) < 1:
        parser.error('--number, --rows and --epochs count from 1')
    return args


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    from pathlib import Path

    from detkit.analysis.data.browsing import contact_sheets, open_browser
    from detkit.config import load_config
    from detkit.utils.pictures import write_picture

    config = load_config(args.config, args.cfg_options, need_classes=False)
    browser = open_browser(config, args.split, args.seed)
    epochs = [] if args.stage == 'before' else [epoch - 1 for epoch in args.epochs]
    indices = browser.choose(args.number, args.indices, args.class_name, args.epochs[0] - 1)
    names = []
    for number, sheet in enumerate(contact_sheets(browser, indices, epochs, args.stage != 'after', args.rows)):
        names.append(f'{args.split}_sheet{number}.jpg')
        write_picture(Path(args.out, names[-1]), sheet)
    print(f'{len(indices)} of {len(browser.dataset)} images in {", ".join(names)} in {args.out}')


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
