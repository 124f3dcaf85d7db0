"""Train a detector from a config file.

detkit train yolov8/seg_n_coco8
detkit train yolov8/seg_n_coco8 --cfg-options data_root=/data/coco8-seg batch_size=8
detkit train work_dirs/seg_n_coco8/config.py --cfg-options max_epochs=200
"""

import argparse

from detkit.cli.arguments import Switch, add_shared_arguments, seed
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument('config', help="config file, or the name of one of detkit's, e.g. yolov8/seg_n_coco8")
    parser.add_argument('--work-dir', help='folder for everything the run writes (default: work_dirs/<config name>)')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='continue a stopped run with the config and options that it was started with: from this checkpoint or '
        "run folder, or without PATH from the config's newest run",
    )
    add_shared_arguments(parser, '--amp', '--device')
    parser.add_argument(
        '--compile',
        action=Switch,
        help='compile the network by torch.compile, which takes minutes at first, or not (default: as the config says)',
    )
    parser.add_argument('--seed', type=seed, help='seed of everything random (default: as the config says)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='replace values of the config; a variable of any of its files (data_root=...) reaches all '
        'that is built from it; +KEY=VALUE adds a key',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        help='how several processes were started, see tools/dist_train.sh (default: as the config says)',
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.engine import train_from_config

    train_from_config(
        args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        resume=args.resume,
        amp=args.amp,
        device=args.device,
        seed=args.seed,
        launcher=args.launcher,
        compile=args.compile,
        ends_process=True,
    )
