"""Evaluate a trained model: average precision of boxes and masks or accuracy, over all and class by class.

detkit test yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth
detkit test work_dirs/seg_n_coco8/config.py work_dirs/seg_n_coco8/best.pth
detkit test yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.pth --split train --show-dir pictures
detkit test yolov8/seg_n_coco8 work_dirs/seg_n_coco8/best.onnx
detkit test yolov8/obb_dota work_dirs/obb_dota/best.pth --tile 1024 --tta plain hflip vflip
"""

import argparse

from detkit.cli.arguments import (
    add_option_arguments,
    add_shared_arguments,
    given_options,
    import_given,
    output_file,
    share,
    whole,
)
from detkit.cli.command import CommandParser
from detkit.inference import ViewOptions


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'config',
        help="config file, such as a run's config.py, or the name of one of detkit's, e.g. yolov8/seg_n_coco8",
    )
    parser.add_argument('checkpoint', help='checkpoint (.pth), or exported file (.onnx, .xml)')
    parser.add_argument(
        '--split',
        choices=['test', 'val', 'train'],
        default='test',
        help="data to test on: the config's test data (or validation data, if it has no other), or the "
        'training data without augmentation (default: test)',
    )
    parser.add_argument(
        '--out',
        type=output_file('.json'),
        metavar='JSON',
        help="write the predictions as json, in COCO's results format (a classifier: one entry for each image)",
    )
    parser.add_argument(
        '--show-dir', metavar='FOLDER', help='write a picture of each image, ground truth beside predictions'
    )
    parser.add_argument(
        '--score-thr', type=share, help='lowest score of a prediction in the pictures of --show-dir (default: 0.25)'
    )
    add_shared_arguments(parser, '--device', '--runtime', '--custom-imports')
    parser.add_argument('--batch-size', type=whole(1), help="images in a batch (default: the config's)")
    parser.add_argument('--amp', action='store_true', help='mixed precision: faster, slightly different metrics')
    add_option_arguments(parser, ViewOptions)
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='replace values of the config, e.g. data_root=/data/coco8-seg',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes were started',
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.without_effect(
        lambda args: args.show_dir is None,
        '--score-thr',
        why='without --show-dir, whose pictures it is for; metrics use all predictions above '
        '--cfg-options model.head.test_cfg.score_thr',
    )


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    from detkit.engine.evaluate import EvaluationSettings, evaluate_checkpoint

    import_given(args)
    views = ViewOptions(**given_options(args, ViewOptions))
    settings = EvaluationSettings(
        args.split,
        args.out,
        args.device,
        args.batch_size,
        args.amp,
        args.launcher,
        vars(views) if views.views else None,
        args.runtime,
    )
    evaluate_checkpoint(
        args.config,
        args.checkpoint,
        args.cfg_options,
        settings,
        show_dir=args.show_dir,
        score_thr=0.25 if args.score_thr is None else args.score_thr,
    )
