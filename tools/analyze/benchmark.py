"""How fast models predict or train, beside each other: parameters, GFLOPs, latency, images/s, memory.

    python tools/analyze/benchmark.py configs/yolov8/det_coco.py configs/yolov5/det_coco.py --batch-size 1 8
    python tools/analyze/benchmark.py configs/yolov8/det_coco.py --amp --compile --onnx --device cpu
    python tools/analyze/benchmark.py configs/yolov8/seg_n_coco8.py configs/yolov8/det_n_coco8.py --train

The variants take turns, so that whatever else the machine does hits all alike. Each is held against the first: the
ratio of their times comes with an interval, and two copies of one model have 1 inside it.
"""

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='How fast models predict or train, beside each other.')
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help='config files; the first is what the others are held against'
    )
    parser.add_argument(
        '--checkpoints',
        nargs='+',
        metavar='FILE',
        help="a checkpoint for each config, or 'none' (default: random weights, which are as fast but "
        'for the postprocessing)',
    )
    parser.add_argument('--labels', nargs='+', help="what to call them (default: the configs' names)")
    parser.add_argument(
        '--train', action='store_true', help="time training steps on the configs' training data instead of prediction"
    )
    parser.add_argument('--batch-size', type=int, nargs='+', default=[1], help='one or several (default: 1)')
    parser.add_argument('--img-size', type=int, help="side of the images (default: the configs' test size)")
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='PATH',
        help='files, folders or patterns to predict on (default: drawn pictures of 640 x 640)',
    )
    parser.add_argument('--score-thr', type=float, default=0.25, help='least score of a prediction (default: 0.25)')
    parser.add_argument('--amp', action='store_true', help='also in mixed precision')
    parser.add_argument('--compile', action='store_true', help='also compiled by torch.compile')
    parser.add_argument('--onnx', action='store_true', help='also by ONNX Runtime, on the CPU')
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: the accelerator, if there is one)')
    parser.add_argument('--threads', type=int, help="PyTorch's threads on the CPU (default: as PyTorch chooses)")
    parser.add_argument(
        '--seconds',
        type=float,
        default=10.0,
        help='how long to time each variant at each batch size, about; 30 rounds are the least (default: 10)',
    )
    parser.add_argument('--rounds', type=int, help='how many rounds instead, in up to 10 blocks')
    parser.add_argument('--confidence', type=float, default=0.95, help='of the intervals (default: 0.95)')
    parser.add_argument('--seed', type=int, default=0, help='of the order of turns (default: 0)')
    parser.add_argument(
        '--no-memory',
        dest='memory',
        action='store_false',
        help='leave out the memory, which takes another process for each variant',
    )
    parser.add_argument('--json', metavar='FILE', help='write everything found')
    parser.add_argument('--csv', metavar='FILE', help='write a row for each variant and batch size')
    parser.add_argument('--cfg-options', nargs='+', metavar='KEY=VALUE', help='replace values of all the configs')
    args = parser.parse_args(argv)
    if args.train:
        for name in ('amp', 'compile', 'onnx', 'img_size', 'images', 'checkpoints'):
            if getattr(args, name):
                parser.error(
                    f'--{name.replace("_", "-")} is for prediction; training goes by the config alone, which '
                    '--cfg-options changes'
                )
    if not 0 < args.confidence < 1:
        parser.error('--confidence must lie between 0 and 1')
    return args


def main() -> None:
    args = parse_args()

    # Only now, so that --help needs no torch.
    import torch

    from detkit.analysis.speed.benchmark_report import console_tables, write_benchmark_csv, write_benchmark_json
    from detkit.analysis.speed.benchmarking import Settings, benchmark_prediction, benchmark_training, choose_variants
    from detkit.analysis.speed.execution_modes import execution_modes

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    variants = choose_variants(
        args.configs, args.checkpoints, args.labels, execution_modes(args.amp, args.compile, args.onnx)
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
    )
    benchmark = benchmark_training if args.train else benchmark_prediction
    found = benchmark(variants, settings, lambda line: print(line, flush=True))
    print(console_tables(found, args.confidence))
    for path, write in ((args.json, write_benchmark_json), (args.csv, write_benchmark_csv)):
        if path:
            write(found, path, args.confidence)
            print(f'results in {path}')


if __name__ == '__main__':
    from detkit.utils.command_line import run_command

    sys.exit(run_command(main))
