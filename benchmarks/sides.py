"""The two sides of a comparison, each in a process of its own, that work when they are told to."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from arguments import image_side, output_file, positive, thread_count

ROOT = Path(__file__).resolve().parents[1]
MARK = 'answer: '


class Family(NamedTuple):
    """What of a family is compared with ultralytics.

    Attributes:
        name: in titles, before the size.
        config: its config for COCO8, without the task; see ``_CONFIGS``.
        theirs: the name of ultralytics' file, without the task's ending.
        sizes: all sizes; the first is the default.
        tasks: likewise.
    """

    name: str
    config: str
    theirs: str
    sizes: str = 'nsmlx'
    tasks: tuple[str, ...] = ('seg', 'det')


_ALL = ('seg', 'det', 'pose', 'obb', 'cls')
# Configs of the tasks for which COCO8 has no annotations.
_CONFIGS = {'obb': 'n_dota8', 'cls': 'n_weather'}
FAMILIES = {
    'yolov8': Family('YOLOv8', 'n_coco8', 'yolov8{}', tasks=_ALL),
    'yolo11': Family('YOLO11', 'n_coco8', 'yolo11{}', tasks=_ALL),
    'yolo26': Family('YOLO26', 'n_coco8', 'yolo26{}', tasks=_ALL),
    'yolov10': Family('YOLOv10', 'n_coco8', 'yolov10{}', 'nsmblx', ('det',)),
    'yolo_world': Family('YOLO-World-', 's_coco8', 'yolov8{}-worldv2', 'smlx', ('det',)),
}

# Families that predict by one-to-one branches, without suppression.
END_TO_END = ('yolo26', 'yolov10')


def output_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Any:
    """Run a command, and return the json of the last line that it prints; a command that fails ends the script."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f'{shlex.join(map(str, command))} ended with status {done.returncode}; its message is above')
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        sys.exit(f'{shlex.join(map(str, command))} printed no result')


def answer(work: Callable[[], Sequence[float]]) -> None:
    """Do ``work`` for each line read, and print what it returns, in a child process."""
    print('ready', flush=True)
    for _ in sys.stdin:
        print(MARK + json.dumps(list(work())), flush=True)


@contextmanager
def started(script: str, name: str, argv: Sequence[str]) -> Iterator[Callable[[], list[float]]]:
    """Start a side of a script in a process; what is yielded lets it work once, and returns what its work returned."""
    command = [sys.executable, script, *argv, '--side', name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        while (line := process.stdout.readline()) and line.strip() != 'ready':
            print(line, end='')
        if not line:
            sys.exit(f'{name} did not start; its message is above')

        def work() -> list[float]:
            process.stdin.write('work\n')
            process.stdin.flush()
            for line in process.stdout:  # also what the side logs
                if line.startswith(MARK):
                    return json.loads(line.removeprefix(MARK))
            sys.exit(f'{name} stopped; its message is above')

        yield work
    finally:
        process.kill()
        process.wait()


def parser_of(description: str | None, batch_size: int) -> argparse.ArgumentParser:
    """Return a parser of what the comparisons with ultralytics have in common."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--family', choices=list(FAMILIES), default='yolov8')
    parser.add_argument('--task', choices=_ALL, help='seg by default, where the family has it')
    parser.add_argument('--size', choices=list('nsmblx'), help='the smallest by default')
    parser.add_argument('--batch-size', type=positive, default=batch_size)
    parser.add_argument('--img-size', type=image_side, default=640)
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--as-shipped', action='store_true', help="each project's own choice of threads")
    parser.add_argument('--json', type=output_file, help='also write the results there')
    parser.add_argument('--side', choices=['detkit', 'ultralytics'], help=argparse.SUPPRESS)
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of ``parser_of``; refuse a task and a size that the family does not have."""
    args = parser.parse_args(argv)
    family = FAMILIES[args.family]
    for key, choices in (('task', family.tasks), ('size', family.sizes)):
        if getattr(args, key) is None:
            setattr(args, key, choices[0])
        if getattr(args, key) not in choices:
            parser.error(f'--{key} {getattr(args, key)}: {args.family} has {", ".join(choices)}')
    return args


def config_name(args: argparse.Namespace) -> str:
    """Return the config of the model that the arguments of ``parser_of`` choose."""
    return f'{args.family}/{args.task}_{_CONFIGS.get(args.task, FAMILIES[args.family].config)}'


def their_config(args: argparse.Namespace) -> str:
    """Return the file of ultralytics that describes the same model."""
    return f'{FAMILIES[args.family].theirs.format(args.size)}{"" if args.task == "det" else f"-{args.task}"}.yaml'


def model_name(args: argparse.Namespace) -> str:
    """Return the model's name in titles."""
    return f'{FAMILIES[args.family].name}{args.size} {args.task}'


def precision(amp: bool, device: str = 'cpu') -> str:
    """Return 'float32', 'bf16' or 'fp16': what detkit computes in with ``amp=True`` or False on a device.

    It is float32 on a CPU without products in bfloat16, whatever is asked for.
    """
    import torch

    from detkit.engine.amp import resolve_amp

    names = {None: 'float32', torch.bfloat16: 'bf16', torch.float16: 'fp16'}
    return names[resolve_amp(amp, torch.device(device))]


def image_operations(config: str, size: str, pictures: Iterable[str | Path] = (), img_size: int = 640) -> float:
    """Return the floating-point operations of a network's convolutions and products for an image.

    Args:
        config: the network's config.
        size: its size.
        pictures: files, over which the mean is taken: each is scaled until its longer side is ``img_size``, and padded
            to whole strides. None of them is an image of ``img_size`` x ``img_size``.
        img_size: see above.
    """
    import cv2

    from detkit.config import load_config
    from detkit.engine.model_cost import count_flops
    from detkit.registry import DETECTORS

    images = (cv2.imread(str(path)) for path in pictures)
    shapes = Counter(letterboxed(image.shape[:2], img_size) for image in images if image is not None)
    shapes = shapes or Counter([(img_size, img_size)])
    model = DETECTORS.build(load_config(ROOT / f'configs/{config}.py', [f'size={size}']).model)
    return sum(count * (count_flops(model, shape) or 0) for shape, count in shapes.items()) / shapes.total()


def letterboxed(shape: tuple[int, int], img_size: int) -> tuple[int, int]:
    """Return the (h, w) that a picture of (h, w) has in a network that predicts on it alone."""
    height, width = (math.ceil(round(side * img_size / max(shape)) / 32) * 32 for side in shape)
    return height, width


def peer_name() -> str:
    """Return 'ultralytics' where it is installed, and '' otherwise."""
    return 'ultralytics' if importlib.util.find_spec('ultralytics') else ''


def answers(
    script: str, argv: Sequence[str], rounds: int, warmup: int = 1, peer: str | None = None
) -> dict[str, list[list[float]]]:
    """Let the sides of a script work in turns; return what each answered, without the first ``warmup`` rounds.

    ``peer`` is the name of the other side, '' for none; None for ultralytics where it is installed.
    """
    names = list(filter(None, ('detkit', peer_name() if peer is None else peer)))
    found: dict[str, list[list[float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        sides = {name: stack.enter_context(started(script, name, argv)) for name in names}
        for _ in range(rounds + warmup):
            for name, work in sides.items():
                found[name].append(work())
    return {name: each[warmup:] for name, each in found.items()}
