"""Milliseconds of the masks of 300 objects, from prototypes and coefficients, of detkit against ultralytics.

    pip install ultralytics
    python benchmarks/masks.py

detkit's are masks of the original image, ultralytics' those of the network's input, as a prediction gives them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence

import numpy as np
import torch
from arguments import at_least, output_file, positive, run, thread_count
from comparison import Comparison, report, take_turns

from detkit.models.postprocess.mask_decoding import decode_masks

CHANNELS = 32
STRIDE = 4


def main(argv: Sequence[str] | None = None) -> list[Comparison]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--objects', type=positive, default=300)
    parser.add_argument('--img-size', type=at_least(STRIDE), nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--threads', type=thread_count, default=2)
    parser.add_argument('--rounds', type=positive, default=10)
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(args.threads)
    height, width = args.img_size
    rng = np.random.default_rng(0)
    coeffs = rng.normal(size=(args.objects, CHANNELS)).astype(np.float32)
    # Each side's as its own network leaves them on a CPU: with channels last here, in planes there.
    protos = rng.normal(size=(height // STRIDE, width // STRIDE, CHANNELS)).astype(np.float32).transpose(2, 0, 1)
    centres = rng.uniform(0, 1, (args.objects, 2)) * (width, height)
    sides = np.exp(rng.normal(3.6, 0.8, (args.objects, 2)))  # half of them below 37 pixels, as COCO's
    limits = (width, height, width, height)
    bboxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1).clip(0, limits).astype(np.float32)

    what: dict = {'detkit': lambda: decode_masks(coeffs, protos, bboxes, np.eye(3), (height, width), STRIDE).crops}
    peer = 'ultralytics' if importlib.util.find_spec('ultralytics') else ''
    if peer:
        from ultralytics.utils.ops import process_mask

        tensors = [torch.from_numpy(array).contiguous() for array in (protos, coeffs, bboxes)]
        what[peer] = lambda: process_mask(*tensors, shape=(height, width), upsample=True)
    seconds = {name: [1e3 * each for each in taken] for name, taken in take_turns(what, args.rounds).items()}
    title = f'masks of {args.objects} objects, {width} x {height} px'
    comparisons = [Comparison(title, 'ms', seconds['detkit'], peer, seconds.get(peer, []))]
    report(comparisons, args.json)
    return comparisons


if __name__ == '__main__':
    run(main)
