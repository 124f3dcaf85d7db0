"""Seconds and memory that it takes to read COCO-sized annotations: detkit against pycocotools and ultralytics.

    python -m venv peer && peer/bin/pip install ultralytics pycocotools
    python benchmarks/read_annotations.py --folder /tmp/annotations --peer-python peer/bin/python

118,287 images with 860,001 outlined objects, drawn by ``annotation_files.py``, are read by

- ``detkit``: ``CocoDataset`` from the json, images looked up and objects checked;
- ``detkit kept``: the same from the annotations that a run before has kept;
- ``detkit labels``: ``YoloTxtDataset`` from the label files;
- ``pycocotools``: ``COCO()`` from the json;
- ``ultralytics``: its first scan of the label files, where ``--peer-python`` has it.

Each reads in a process of its own, by turns; seconds are medians, of the clock and of the processor (``CPU``), which
other load disturbs less. Memory is the process's peak without what its imports take. Then loaders with 0, 2 and 8
workers look at all of detkit's records, epoch by epoch: the sum of their shares of memory (PSS) stays as it is where
nothing is copied. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from arguments import not_negative, output_file, output_folder, positive, program, run
from comparison import Comparison, report
from sides import output_of

WAYS = ('detkit', 'detkit kept', 'detkit labels', 'pycocotools', 'ultralytics')
# The peer of each way of reading.
PEERS = {'detkit': 'pycocotools', 'detkit kept': 'pycocotools', 'detkit labels': 'ultralytics'}


def read_detkit(folder: Path, kept: bool = False) -> int:
    from detkit.datasets import CocoDataset

    return len(CocoDataset('annotations.json', 'images/train', data_root=str(folder), cache_annotations=kept))


def read_detkit_kept(folder: Path) -> int:
    return read_detkit(folder, kept=True)


def read_detkit_labels(folder: Path) -> int:
    from detkit.datasets import YoloTxtDataset

    classes = [f'class {number}' for number in range(80)]
    return len(YoloTxtDataset('images/train', data_root=str(folder), metainfo=dict(classes=classes)))


def read_pycocotools(folder: Path) -> int:
    from pycocotools.coco import COCO

    return len(COCO(str(folder / 'annotations.json')).imgs)


def read_ultralytics(folder: Path) -> int:
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import YOLODataset

    (folder / 'labels' / 'train.cache').unlink(missing_ok=True)
    dataset = YOLODataset(
        img_path=str(folder / 'images' / 'train'),
        augment=False,
        hyp=get_cfg(overrides=dict(task='segment')),
        task='segment',
        data=dict(names={number: f'class {number}' for number in range(80)}, channels=3, nc=80),
    )
    return len(dataset)


def import_way(way: str) -> None:
    """Import what a way of reading needs, so that the rest of its memory is its reading's."""
    if way.startswith('detkit'):
        from detkit.datasets import CocoDataset, YoloTxtDataset  # noqa: F401 (the room alone imports nothing)
    elif way == 'pycocotools':
        import pycocotools.coco  # noqa: F401
    else:
        import ultralytics.data.dataset  # noqa: F401


def measure_way(way: str, folder: Path) -> dict[str, float]:
    """Read once in this process."""
    import_way(way)
    before = status_megabytes('VmHWM')
    readers = (read_detkit, read_detkit_kept, read_detkit_labels, read_pycocotools, read_ultralytics)
    start, busy = time.perf_counter(), time.process_time()
    count = dict(zip(WAYS, readers, strict=True))[way](folder)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    return dict(seconds=seconds, cpu=cpu, before=before, peak=status_megabytes('VmHWM'), images=count)


def status_megabytes(key: str) -> float:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{key}:'):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f'/proc/self/status has no {key}')


def measure_workers(folder: Path, num_workers: int, epochs: int) -> list[float]:
    """Return the megabytes that a loader's processes take together after each epoch over all records."""
    from torch.utils.data import DataLoader, Dataset

    from detkit.datasets import CocoDataset

    class Counts(Dataset):
        """The number of objects, and of points, of each image."""

        def __init__(self) -> None:
            self.records = CocoDataset('annotations.json', 'images/train', data_root=str(folder)).records

        def __len__(self) -> int:
            return len(self.records)

        def __getitem__(self, index: int) -> float:
            own = self.records[index].annotations
            return float(own.bboxes.sum() + own.polygons.points.sum())

    loader = DataLoader(
        Counts(), 64, shuffle=True, num_workers=num_workers, persistent_workers=num_workers > 0, pin_memory=False
    )
    megabytes = []
    for _ in range(epochs):
        for _ in loader:
            pass
        megabytes.append(sum(map(pss_megabytes, [os.getpid(), *children_of(os.getpid())])))
    return megabytes


def children_of(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f'/proc/{pid}/task').iterdir() for child in (task / 'children').read_text().split()
    ]


def pss_megabytes(pid: int) -> float:
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('Pss:')) / 1024


def run_child(python: str, *arguments: str, **variables: str) -> dict | list:
    """Run this file in a process of its own with more environment variables, and return what it prints last."""
    return output_of([python, __file__, *arguments], {**os.environ, **variables})


def compare(args: argparse.Namespace) -> list[Comparison]:
    from annotation_files import write_dataset

    write_dataset(args.folder, args.images, args.bboxes)
    size = (args.folder / 'annotations.json').stat().st_size / 1e6
    print(f'{args.images:,} images, {args.bboxes:,} objects, a json of {size:,.0f} MB, {os.cpu_count()} cores')
    pythons = {way: sys.executable for way in WAYS if way != 'ultralytics'}
    if args.peer_python:
        pythons['ultralytics'] = args.peer_python
    runs: dict[str, list[dict]] = {way: [] for way in pythons}
    with tempfile.TemporaryDirectory() as cache:
        for turn in range(args.rounds + 1):  # the first one, in which the annotations are kept, is not counted
            for way, python in pythons.items():
                run = run_child(python, '--folder', str(args.folder), '--way', way, DETKIT_CACHE=cache)
                assert run['images'] == args.images, f'{way} has lost images'
                runs[way] += [run] if turn else []
    comparisons = []
    for way, peer in PEERS.items():
        own, theirs = runs[way], runs.get(peer, [])
        title = f'{args.images:,} images, {args.bboxes:,} objects, {way}'
        for what, unit, key in (
            ('reading', 's', 'seconds'),
            ('reading (CPU)', 's', 'cpu'),
            ('memory of reading', 'MB', 0),
        ):
            values, others = (
                [run[key] if key else run['peak'] - run['before'] for run in side] for side in (own, theirs)
            )
            comparisons.append(Comparison(f'{what}, {title}', unit, values, peer if theirs else '', others))
    report(comparisons, args.json)
    for count in args.workers:
        megabytes = run_child(
            sys.executable, '--folder', str(args.folder), '--loader', str(count), '--epochs', str(args.epochs)
        )
        shown = ', '.join(f'{value:,.0f}' for value in megabytes)
        print(f'{count:>3} workers: {shown} MB of memory after each epoch')
    return comparisons


def main(argv: Sequence[str] | None = None) -> list[Comparison] | None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=output_folder, required=True, help='where the dataset is, or is written to')
    parser.add_argument('--images', type=positive, default=118_287)
    parser.add_argument('--bboxes', type=positive, default=860_001)
    parser.add_argument('--rounds', type=positive, default=3, help='how often each way reads')
    parser.add_argument('--peer-python', type=program, help='a Python that has ultralytics')
    parser.add_argument(
        '--workers', type=not_negative, nargs='*', default=[0, 2, 8], help='worker counts of the loaders'
    )
    parser.add_argument('--epochs', type=positive, default=3)
    parser.add_argument('--way', choices=WAYS, help=argparse.SUPPRESS)  # a child's
    parser.add_argument('--loader', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--json', type=output_file, help='also write the results there')
    args = parser.parse_args(argv)
    if args.way:
        print(json.dumps(measure_way(args.way, args.folder)))
    elif args.loader is not None:
        print(json.dumps(measure_workers(args.folder, args.loader, args.epochs)))
    else:
        return compare(args)
    return None


if __name__ == '__main__':
    run(main)
