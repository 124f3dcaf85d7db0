"""Report statistics of a config's data, near-duplicate images and labels that are likely wrong.

detkit analyze dataset-stats yolov8/seg_n_coco8
detkit analyze dataset-stats yolov8/det_coco --out data.html --csv issues.csv
detkit analyze dataset-stats yolov8/det_coco --split val --checkpoint best.pth --out data.html
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, output_file, real, share, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, 'config', '--device', '--batch-size', '--cfg-options')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=['train', 'val', 'test'],
        help='data loaders to report on (default: train val, as far as the config has them)',
    )
    parser.add_argument(
        '--out', type=output_file('.html', '.htm'), metavar='HTML', help='write a page that opens without a network'
    )
    parser.add_argument('--csv', type=output_file('.csv'), metavar='FILE', help='write a list of what was found')
    parser.add_argument(
        '--no-near-duplicates',
        dest='near_duplicates',
        action='store_false',
        help='do not search for near-duplicate images, which reads every image',
    )
    parser.add_argument(
        '--max-distance',
        type=whole(0, 15),
        default=6,
        metavar='BITS',
        help='bits, of 64, by which the hashes of near duplicates may differ, up to 15 (default: 6)',
    )
    parser.add_argument(
        '--tiny',
        type=real(0),
        default=4.0,
        metavar='PIXELS',
        help='report objects with a shorter side (default: 4)',
    )
    parser.add_argument(
        '--thin',
        type=real(1),
        default=20.0,
        metavar='RATIO',
        help='report objects with a greater ratio of the longer side to the shorter (default: 20)',
    )
    parser.add_argument(
        '--duplicate-iou',
        type=share,
        default=0.9,
        metavar='IOU',
        help='report objects that overlap by more (default: 0.9)',
    )
    parser.add_argument(
        '--deviations',
        type=real(0),
        default=5.0,
        metavar='NUMBER',
        help="report objects whose size or aspect is further from their class's median, in robust standard deviations, "
        'and at least twice or half of it (default: 5)',
    )
    parser.add_argument(
        '--min-objects',
        type=whole(1),
        default=20,
        help='objects that a class must have for that (default: 20)',
    )
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        metavar='[SPLIT=]FILE',
        help='trained model of the config: report labels that it disagrees with, in all splits or in one, best of a '
        'split that it was not trained on',
    )
    parser.add_argument(
        '--max-images', type=whole(0), default=12, help='pictures of each kind on the page (default: 12)'
    )
    parser.without_effect(lambda args: args.out is None, '--max-images', why='without the page of --out')
    parser.without_effect(lambda args: not args.near_duplicates, '--max-distance', why='with --no-near-duplicates')
    parser.without_effect(lambda args: not args.checkpoint, '--device', '--batch-size', why='without --checkpoint')


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.analysis.data.dataset_page import write_page
    from detkit.analysis.data.dataset_report import console_report, write_issues
    from detkit.analysis.data.dataset_stats import dataset_stats
    from detkit.analysis.data.label_disagreements import find_disagreements, split_checkpoints
    from detkit.analysis.data.label_issues import Limits
    from detkit.analysis.errors.evaluated_model import ModelEvaluation
    from detkit.config import load_config
    from detkit.engine.evaluate import EvaluationSettings

    config = load_config(args.config, args.cfg_options, need_classes=False)
    limits = Limits(
        args.tiny,
        args.thin,
        duplicate=args.duplicate_iou,
        deviations=args.deviations,
        min_objects=args.min_objects,
    )
    stats = dataset_stats(config, args.split, limits, args.near_duplicates, args.max_distance)
    for split, checkpoint in split_checkpoints(args.checkpoint or (), [table.name for table in stats.tables]).items():
        settings = EvaluationSettings(split, device=args.device, batch_size=args.batch_size)
        model = ModelEvaluation(args.config, checkpoint, args.cfg_options, settings).run()
        stats.disagreements.append(find_disagreements(model, split))
    print(console_report(stats))
    if args.csv:
        print(f'{write_issues(stats, args.csv)} label issues, near duplicates and disagreements in {args.csv}')
    if args.out:
        write_page(stats, args.out, args.max_images)
        print(f'report in {args.out}')
