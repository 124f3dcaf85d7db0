"""Memory that sliced inference on a large picture takes: by default 20,000 x 20,000 pixels.

    python benchmarks/tiled_prediction.py --folder /tmp/scene
    python benchmarks/tiled_prediction.py --folder /tmp/scene --checkpoint best.pth --picture photo.jpg --side 8000

A picture is repeated over the scene, which is stored as ``npy`` (pixels in a file that is mapped into memory and read
tile by tile), ``png`` and ``jpg`` (decoded as a whole). Each is predicted on in a process of its own. Of the peak of
its memory, 'own' cannot be given back to the system, while the pages of a mapped file can; in brackets is what imports
and the model take beforehand. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import cv2
import numpy as np
from arguments import output_folder, positive, run
from sides import output_of

STORES = ('npy', 'png', 'jpg')
MODEL = 'yolov8/seg_n_coco8'


def write_scene(folder: Path, side: int, picture: str | None) -> None:
    """Write the scene in all ways of storing it, strip by strip where the format lets one."""
    folder.mkdir(parents=True, exist_ok=True)
    if picture is None:
        noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        cell = cv2.resize(noise, (640, 640), interpolation=cv2.INTER_CUBIC)
    else:
        from detkit.datasets.transforms.loading import read_image

        cell = read_image(picture)
    height, width = cell.shape[:2]
    row = np.tile(cell, (1, -(-side // width), 1))[:, :side]
    scene = np.lib.format.open_memmap(folder / 'scene.npy', 'w+', np.uint8, (side, side, 3))
    for top in range(0, side, height):
        scene[top : top + height] = row[: side - top]
    scene.flush()
    for suffix in ('png', 'jpg'):
        cv2.imwrite(str(folder / f'scene.{suffix}'), scene[..., ::-1])


def memory() -> tuple[float, float]:
    """Return the memory of this process in MB: all that is resident, and what of it is no file's."""
    lines = [line.split() for line in Path('/proc/self/status').read_text().splitlines()]
    sizes = {words[0].rstrip(':'): words[1] for words in lines if words[0] in ('VmRSS:', 'RssAnon:')}
    return int(sizes['VmRSS']) / 1e3, int(sizes['RssAnon']) / 1e3


@contextmanager
def peak_memory():
    """Return a list that holds the largest values of ``memory()`` when the block ends."""
    peaks, done = [0.0, 0.0], Event()

    def watch() -> None:
        while not done.wait(0.02):
            peaks[:] = map(max, peaks, memory())

    thread = Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def predict(path: Path, args: argparse.Namespace) -> dict[str, float]:
    from detkit import Detector

    model = Detector(args.checkpoint or MODEL, device='cpu')
    before = memory()
    with peak_memory() as peaks:
        start = time.perf_counter()
        source = np.load(path, mmap_mode='r') if path.suffix == '.npy' else path
        options = dict(img_size=args.img_size, batch_size=args.batch_size, max_per_img=args.max_per_img)
        (result,) = model(source, tile=args.tile, score_thr=args.score_thr, **options)
        seconds = time.perf_counter() - start
    if result.error is not None:
        raise SystemExit(result.error)
    crops = sum(crop.nbytes for crop in result.instance_masks.crops) / 1e6
    return dict(seconds=seconds, objects=len(result), masks=crops, peak=peaks[0], own=peaks[1], before=before[1])


def run_child(store: str, argv: list[str], side: int) -> dict[str, float]:
    # Images of more pixels than a limit are refused unless the user raises it.
    environment = {**os.environ, 'DETKIT_MAX_PIXELS': str(side * side)}
    command = [sys.executable, __file__, *argv, '--child', store]
    return output_of(command, environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=output_folder, required=True, help='where the scene is written, once')
    parser.add_argument('--side', type=positive, default=20000, help='of the scene, in pixels (default: 20000)')
    parser.add_argument('--picture', help='what the scene repeats (default: noise)')
    parser.add_argument('--checkpoint', help='weights with masks (default: random ones)')
    parser.add_argument('--stores', nargs='+', choices=STORES, default=STORES)
    parser.add_argument('--tile', type=positive, default=640)
    parser.add_argument('--img-size', type=positive, default=640)
    parser.add_argument('--batch-size', type=positive, default=4)
    parser.add_argument('--score-thr', type=float, default=0.25)
    parser.add_argument('--max-per-img', type=positive, default=10000)
    parser.add_argument('--child', choices=STORES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(predict(args.folder / f'scene.{args.child}', args)))
        return
    if not (args.folder / 'scene.jpg').exists():
        write_scene(args.folder, args.side, args.picture)
    print(f'{args.side} x {args.side} pixels ({3 * args.side**2 / 1e6:.0f} MB decoded), tiles of {args.tile}')
    for store in args.stores:
        found = run_child(store, sys.argv[1:], args.side)
        print(
            f'{store}: {found["objects"]} objects, masks of {found["masks"]:.0f} MB, {found["seconds"]:.0f} s, '
            f'peak {found["peak"]:.0f} MB, own {found["own"]:.0f} MB ({found["before"]:.0f} MB before)',
            flush=True,
        )


if __name__ == '__main__':
    run(main)
