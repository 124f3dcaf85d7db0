"""Draw a config's data: images with their annotations, before and after the pipeline, mosaic included.

    detkit analyze browse-dataset yolov8/seg_n_coco8
    detkit analyze browse-dataset yolov8/det_coco --class 'fire hydrant' --number 24
    detkit analyze browse-dataset yolov8/seg_n_coco8 --indices 0 3 --epochs 1 2 100

The sheets show exactly what a training run with the same seed uses in that epoch.
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, seed, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', '--cfg-options')
    parser.add_argument('--out', metavar='FOLDER', default='browsed', help='folder of the sheets (default: browsed)')
    parser.add_argument(
        '--split',
        choices=['train', 'val', 'test'],
        default='train',
        help='data loader to draw (default: train)',
    )
    parser.add_argument('--number', type=whole(1), default=8, help='number of images (default: 8)')
    parser.add_argument(
        '--indices',
        type=whole(0),
        nargs='+',
        default=[],
        metavar='N',
        help='indices of the images in the dataset, in place of the first ones of the epoch',
    )
    parser.add_argument(
        '--class', dest='class_name', metavar='NAME', help='draw only images with an object of this class'
    )
    parser.add_argument(
        '--epochs',
        type=whole(1),
        nargs='+',
        default=[1],
        metavar='N',
        help='epochs whose augmentation is drawn, counted from 1 (default: 1)',
    )
    parser.add_argument(
        '--stage',
        choices=['both', 'before', 'after'],
        default='both',
        help='draw the images before the pipeline, after it, or both (default: both)',
    )
    parser.add_argument('--rows', type=whole(1), default=4, help='rows of a sheet (default: 4)')
    parser.add_argument('--seed', type=seed, help="seed of the run (default: the config's, or 0)")
    parser.without_effect(lambda args: bool(args.indices), '--number', why='with --indices, which all are drawn')


def run(args: argparse.Namespace) -> None:
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
