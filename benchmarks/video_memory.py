"""Print the memory of a process that tracks a long video and writes the drawn one, as frames go by.

The video is drawn and encoded first, into a temporary folder. The network is YOLOv8n on small frames; its weights are
random, as memory does not depend on them, and its classes are biased so that there are objects to track.

python benchmarks/video_memory.py
python benchmarks/video_memory.py --frames 2000 --report 500 1000 2000
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from arguments import positive, run
from torch import nn

from detkit.config import load_config
from detkit.inference import Predictor, Video
from detkit.inference.drawn_output import DrawnOutput
from detkit.inference.tracking import track_sources
from detkit.inference.video_reader import VideoInfo
from detkit.inference.video_writer import VideoWriter
from detkit.models.detectors import ModelInfo
from detkit.registry import DETECTORS

SHAPE = (96, 128)
CLASSES = ('a', 'b')


def write_video(path: Path, num_frames: int) -> None:
    """Draw a video of squares that move on noise."""
    rng = np.random.default_rng(0)
    background = rng.integers(60, 110, (*SHAPE, 3)).astype(np.uint8)
    info = VideoInfo(SHAPE, 25.0, Fraction(1, 25), num_frames, num_frames / 25, False, 0.0)
    with VideoWriter(path, info) as writer:
        for number in range(num_frames):
            img = background.copy()
            for lane in range(3):
                left = (number * (lane + 1)) % (SHAPE[1] - 24)
                img[8 + 30 * lane : 30 + 30 * lane, left : left + 24] = (220, 60 * lane, 40)
            writer.write(img, number / 25)


def make_predictor() -> Predictor:
    """Return a predictor of YOLOv8n with random weights, which finds a few objects."""
    config = load_config('yolov8/det_n_coco8', need_classes=False)
    torch.manual_seed(0)
    config.model.head.num_classes = len(CLASSES)
    model = DETECTORS.build(config.model).eval()
    for branch in model.head.cls_branches:
        nn.init.normal_(branch[-1].weight, std=2.0)
        nn.init.zeros_(branch[-1].bias)
    model.info = ModelInfo(config, CLASSES, {}, '')
    return Predictor(model=model, img_size=64, score_thr=0.1, max_per_img=10, batch_size=8)


def resident_megabytes() -> float:
    """Return the memory of this process that is in use now."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1000
    raise RuntimeError('/proc/self/status has no VmRSS')


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Print the memory at some frames, and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=positive, default=10_000, help='length of the video (default: 10000)')
    parser.add_argument(
        '--report',
        type=positive,
        nargs='+',
        help='frames at which memory is printed (default: 1000, 2000, 5000 and 10000, or the last of a shorter video)',
    )
    args = parser.parse_args(argv)
    if args.report is None:
        args.report = [number for number in (1000, 2000, 5000, 10_000) if number <= args.frames] or [args.frames]
    if max(args.report) > args.frames:
        parser.error(f'--report {max(args.report)}: the video has {args.frames} frames')
    seen, found, memory = 0, set(), []
    with tempfile.TemporaryDirectory(prefix='detkit-') as folder, ExitStack() as stack:
        write_video(Path(folder) / 'clip.mp4', args.frames)
        (Path(folder) / 'out').mkdir()
        drawn = stack.enter_context(DrawnOutput(Path(folder) / 'out'))
        for image, img, result in track_sources(make_predictor(), [Video(Path(folder) / 'clip.mp4')]):
            drawn.write(image, result.plot(img), 'clip')
            seen += 1
            found.update(result.track_ids.tolist())
            if seen in args.report:
                memory.append(resident_megabytes())
                print(f'{seen} frames, {len(found)} tracks: {memory[-1]:.0f} MB', flush=True)
    print(f'{seen} frames in all; from the first to the last line {memory[-1] - memory[0]:+.0f} MB')
    return memory


if __name__ == '__main__':
    run(main)
