r"""Compare models on the same images: the better one, the certainty of that, and where they differ.

    detkit analyze compare \
        yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth \
        work_dirs/seg_n_coco8-2/config.py work_dirs/seg_n_coco8-2/best.pth --out compared.html

The console shows the metrics with intervals and a verdict for each pair; the page also holds classes, sizes, pictures
and the differences of the configs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.arguments import add_shared_arguments, output_file, seed, share, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'models',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='a config file and its checkpoint for each model; the others are compared with the first',
    )
    add_comparison_arguments(parser)
    parser.mistake = _mistake


def add_comparison_arguments(parser: CommandParser) -> None:
    """Add what ``show_comparison`` reads."""
    add_shared_arguments(parser, '--labels', '--split', '--confidence', '--device', '--batch-size', '--cfg-options')
    parser.add_argument(
        '--out', type=output_file('.html', '.htm'), metavar='HTML', help='write a page that opens without a network'
    )
    parser.add_argument(
        '--replicates', type=whole(1), default=1000, help='number of bootstrap replicates (default: 1000)'
    )
    parser.add_argument('--seed', type=seed, default=0, help='seed of the bootstrap (default: 0)')
    parser.add_argument(
        '--score-thr',
        type=share,
        default=0.25,
        help='least score of the predictions that choose the pictures and are drawn (default: 0.25)',
    )
    parser.add_argument('--max-images', type=whole(0), default=12, help='pictures on the page (default: 12)')
    parser.add_argument(
        '--latency',
        action='store_true',
        help='also time the networks on single images, in turns, and plot accuracy against time',
    )


def _mistake(args: argparse.Namespace) -> str | None:
    if len(args.models) % 2:
        return 'give a config and a checkpoint for each model, in turn'
    return None


def run(args: argparse.Namespace) -> None:
    show_comparison(list(zip(args.models[::2], args.models[1::2], strict=True)), args)


def show_comparison(pairs: Sequence[tuple[str | Path, str | Path]], args: argparse.Namespace) -> None:
    """Compare models, each a config and a checkpoint, as the arguments say."""
    # Only now, so that --help needs no torch.
    from detkit.analysis.errors.compare import compare, evaluate_models
    from detkit.analysis.errors.compare_report import console_tables, write_report
    from detkit.analysis.speed.benchmarking import time_networks
    from detkit.engine.evaluate import EvaluationSettings

    settings = EvaluationSettings(args.split, device=args.device, batch_size=args.batch_size)
    models = evaluate_models(pairs, args.labels, args.cfg_options, settings)
    found = compare(models, args.replicates, args.confidence, args.seed)
    latencies = None
    if args.latency:
        print('timing the networks', flush=True)
        latencies = time_networks(pairs, args.cfg_options, args.device, confidence=args.confidence, seed=args.seed)
    print(console_tables(found, latencies))
    if args.out:
        write_report(found, args.out, latencies, score_thr=args.score_thr, max_images=args.max_images)
        print(f'report in {args.out}')
