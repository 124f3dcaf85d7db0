"""Compare the speed of models in prediction or training: parameters, GFLOPs, latency, images/s, memory.

    detkit analyze benchmark yolov8/det_coco yolov5/det_coco --batch-size 1 8
    detkit analyze benchmark yolov8/det_coco --amp --compile --runtimes onnx openvino --device cpu
    detkit analyze benchmark runs/a/config.py --checkpoints runs/a/best.pth --runtimes onnx openvino --metrics
    detkit analyze benchmark yolov8/seg_n_coco8 yolov8/det_n_coco8 --train

The variants run in turns, so that other load on the machine affects all of them equally. Each is compared with the
first: the ratio of their times has a confidence interval, which contains 1 for two copies of one model.
"""

import argparse

from detkit.cli.arguments import add_shared_arguments, output_file, real, seed, share, whole
from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    add_shared_arguments(parser, '--labels', '--device', '--confidence', '--cfg-options')
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help='config files or names; the others are compared with the first'
    )
    parser.add_argument(
        '--checkpoints',
        nargs='+',
        metavar='FILE',
        help="a checkpoint or exported file for each config, or 'none' (default: random weights, as fast except in "
        'postprocessing)',
    )
    parser.add_argument(
        '--train', action='store_true', help="time training steps on the configs' training data instead of prediction"
    )
    parser.add_argument(
        '--batch-size', type=int, nargs='+', default=[1], help='one or several batch sizes (default: 1)'
    )
    parser.add_argument('--img-size', type=whole(1), help="side of the images (default: the configs' test size)")
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='PATH',
        help='files, folders or patterns to predict on (default: drawn pictures of 640 x 640)',
    )
    parser.add_argument('--score-thr', type=share, default=0.25, help='least score of a prediction (default: 0.25)')
    parser.add_argument('--amp', action='store_true', help='also in mixed precision')
    parser.add_argument('--compile', action='store_true', help='also compiled by torch.compile')
    parser.add_argument(
        '--runtimes',
        nargs='+',
        default=[],
        metavar='NAME',
        help='also exported and run by these, on the CPU: onnx (ONNX Runtime), openvino',
    )
    parser.add_argument(
        '--metrics', action='store_true', help='also test each variant, and show its metrics beside its times'
    )
    add_shared_arguments(parser, '--split')
    parser.add_argument(
        '--threads', type=whole(1), help="number of PyTorch's CPU threads (default: PyTorch's own choice)"
    )
    parser.add_argument(
        '--seconds',
        type=real(0),
        default=10.0,
        help='approximate time for each variant at each batch size, at least 30 rounds (default: 10)',
    )
    parser.add_argument('--rounds', type=whole(1), help='number of rounds in place of a time, in up to 10 blocks')
    parser.add_argument('--seed', type=seed, default=0, help='seed of the order of turns (default: 0)')
    parser.add_argument(
        '--no-memory',
        dest='memory',
        action='store_false',
        help='do not measure memory, which needs another process for each variant',
    )
    parser.add_argument('--json', type=output_file('.json'), metavar='FILE', help='write all results')
    parser.add_argument(
        '--csv', type=output_file('.csv'), metavar='FILE', help='write a row for each variant and batch size'
    )
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    weights = [config for config in args.configs if config.endswith('.pth')]
    if weights:
        return f'{weights[0]} is a checkpoint: write --checkpoints {weights[0]} after the configs'
    if args.train:
        for name in ('amp', 'compile', 'runtimes', 'img_size', 'images', 'checkpoints', 'metrics'):
            if getattr(args, name):
                return (
                    f'--{name.replace("_", "-")} is for prediction; training goes by the config alone, which '
                    '--cfg-options changes'
                )
    if args.split != 'test' and not args.metrics:
        return '--split chooses the data of --metrics, which is not given'
    return None


def run(args: argparse.Namespace) -> None:
    # Only now, so that --help needs no torch.
    import torch

    from detkit.analysis.speed.benchmark_report import console_tables, write_benchmark_csv, write_benchmark_json
    from detkit.analysis.speed.benchmarking import Settings, benchmark_prediction, benchmark_training, choose_variants
    from detkit.analysis.speed.execution_modes import execution_modes

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    variants = choose_variants(
        args.configs, args.checkpoints, args.labels, execution_modes(args.amp, args.compile, args.runtimes)
    )
    settings = Settings(
        batch_sizes=args.batch_size,
        device=args.device,
        img_size=args.img_size,
        options=args.cfg_options,
        images=args.images,
        score_thr=args.score_thr,
        seconds=args.seconds,
        rounds=args.rounds,
        seed=args.seed,
        memory=args.memory,
        split=args.split if args.metrics else None,
    )
    benchmark = benchmark_training if args.train else benchmark_prediction
    found = benchmark(variants, settings, lambda line: print(line, flush=True))
    print(console_tables(found, args.confidence))
    for path, write in ((args.json, write_benchmark_json), (args.csv, write_benchmark_csv)):
        if path:
            write(found, path, args.confidence)
            print(f'results in {path}')
