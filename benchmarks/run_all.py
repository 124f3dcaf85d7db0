"""Run the benchmarks that compare detkit with others, and write the tables of docs/performance.md.

    pip install 'detkit[eval]' ultralytics faster-coco-eval transformers pydfine
    python benchmarks/run_all.py --json performance.json --docs docs/performance.md
    python benchmarks/run_all.py --from performance.json --docs docs/performance.md

``--only`` with ``--keep performance.json`` measures some again, and keeps what that file has of the others, with their
times, if the machine and the versions are the same. ``--json`` is written after each script.

Each script runs in a process of its own, and prints a line for each quantity: the medians of detkit and of its peer,
with the least and the greatest sample, and the ratio. A peer that is not installed is left out, a script that fails is
listed. ``--quick`` takes tiny sizes, which show that all of them run, and nothing else.

The peak of the processor is measured in the same run: the operations a second of the largest of a few matrix products
and convolutions. The share of it is that of the convolutions and products of a network, which a training does three
times. 'At most' is the ratio of a side that does these at the peak and nothing else: no program with as many operations
reaches more.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from textwrap import fill
from typing import Any

import torch
from arguments import output_file, output_folder, run
from comparison import NUMBER_FORMATS, Comparison, read
from measured import END, START, check_same_machine, read_found, split_page, write_page

import detkit
from detkit.engine.amp import cpu_has_bf16
from detkit.engine.environment import cpu_name
from detkit.utils.errors import nearest
from detkit.utils.tables import text_table, write_json

HERE = Path(__file__).resolve().parent
# Scripts by a name, with their arguments, and those that make them tiny. FOLDER is a folder for large files.
FOLDER = '{folder}'
SHORT_PREDICTION = ['--images', '2', '--img-size', '64', '--rounds', '1']
SHORT_JOB = [
    '--images',
    '2',
    '--epochs',
    '2',
    '--rounds',
    '1',
    '--img-size',
    '64',
    '--batch-size',
    '2',
    '--workers',
    '0',
]
SCRIPTS: dict[str, tuple[str, list[str], list[str]]] = {
    'start': ('import_time.py', [], ['--rounds', '1', '--cases', 'detkit --help']),
    'training step, bf16': (
        'train_step.py',
        ['--batch-size', '16'],
        ['--batch-size', '1', '--img-size', '64', '--steps', '1'],
    ),
    'training step, float32': (
        'train_step.py',
        ['--batch-size', '16', '--no-amp'],
        ['--batch-size', '1', '--img-size', '64', '--steps', '1', '--no-amp'],
    ),
    'training, bf16': ('train_job.py', ['--epochs', '10'], SHORT_JOB),
    'training, float32': ('train_job.py', ['--epochs', '6', '--no-amp'], [*SHORT_JOB, '--no-amp']),
    **{
        f'prediction, {words}': ('prediction.py', arguments, [*arguments, *SHORT_PREDICTION])
        for words, arguments in (
            ('batch 1', ['--batch-size', '1']),
            ('batch 8', ['--batch-size', '8']),
            ('batch 8, 128 px', ['--batch-size', '8', '--img-size', '128']),
            (
                'whole masks, batch 8, 128 px',
                ['--batch-size', '8', '--img-size', '128', '--retina-masks'],
            ),
            ('no masks, batch 8, 128 px', ['--batch-size', '8', '--img-size', '128', '--without-masks']),
            ('boxes, batch 8, 128 px', ['--task', 'det', '--batch-size', '8', '--img-size', '128']),
            ('batch 8, bf16', ['--batch-size', '8', '--amp']),
            ('pictures, batch 1', ['--batch-size', '1', '--pictures']),
            ('OpenVINO', ['--runtime', 'openvino']),
        )
    },
    **{
        f'prediction, 12 megapixels{words}': (
            'prediction.py',
            ['--images', '8', '--picture-size', '4000', '3000', *arguments],
            [*SHORT_PREDICTION, '--picture-size', '200', '150', *arguments],
        )
        for words, arguments in (('', []), (', reduced decoding', ['--reduced-decoding']))
    },
    **{
        f'validation{words}': (
            'validation.py',
            arguments,
            [*SHORT_PREDICTION, '--batch-size', '2', '--workers', '0', *arguments],
        )
        for words, arguments in (('', []), (', bf16', ['--amp']), (', boxes', ['--task', 'det']))
    },
    'masks': ('masks.py', [], ['--objects', '3', '--img-size', '64', '64', '--rounds', '1']),
    'memory kept': (
        'freed_memory.py',
        [],
        ['--batch-size', '1', '--img-size', '64', '--steps', '1'],
    ),
    'loss': ('loss.py', [], ['--batch-size', '1', '--img-size', '64', '--boxes', '2', '--steps', '1']),
    'loss of YOLOv5': ('anchor_loss.py', [], ['--batch-size', '1', '--img-size', '64', '--boxes', '2', '--steps', '1']),
    'step of DETR': ('detr_step.py', [], ['--shapes', '64x64', '--steps', '1']),
    **{
        f'{name}, {job}, {precision}': (
            'realtime_step.py',
            ['--family', family, '--job', job, *amp],
            ['--family', family, '--job', job, '--batch-size', '1', '--img-size', '320', '--rounds', '1', *amp],
        )
        for family, name in (('rtdetr', 'RT-DETR'), ('dfine', 'D-FINE'), ('rfdetr', 'RF-DETR'), ('yolox', 'YOLOX'))
        for job in ('train', 'predict')
        for precision, amp in (('float32', []), ('bf16', ['--amp']))
    },
    **{
        f'{name} of torchvision, {job}, {precision}': (
            'torchvision_step.py',
            ['--model', name, '--job', job, *amp],
            ['--model', name, '--job', job, '--batch-size', '1', '--img-size', '64', '--rounds', '1', *amp],
        )
        for name in ('faster_rcnn', 'mask_rcnn', 'keypoint_rcnn', 'retinanet', 'fcos')
        for job in ('train', 'predict')
        for precision, amp in (('float32', []), ('bf16', ['--amp']))
    },
    'data': ('data_pipeline.py', [], ['--rounds', '1', '--batch-size', '1', '--img-size', '64']),
    'checkpoints': ('checkpoint_writing.py', [], ['--size', 'n', '--rounds', '1']),
    'evaluation': ('evaluation.py', [], ['--images', '20', '--rounds', '1']),
    'reading': (
        'read_annotations.py',
        ['--folder', FOLDER, '--workers', '2'],
        ['--folder', FOLDER, '--images', '20', '--bboxes', '60', '--rounds', '1', '--workers', '0', '--epochs', '1'],
    ),
    'cost curves': ('cost_curves.py', [], ['--quick']),
    'GPU': (
        'gpu.py',
        [],
        ['--device', 'cpu', '--tasks', 'det', '--train-batches', '2', '--predict-batches', '1', '--workers', '0']
        + ['--images', '4', '--epochs', '2', '--img-size', '64', '--rounds', '1'],
    ),
}
PACKAGES = (
    'torch',
    'numpy',
    'opencv-python',
    'pycocotools',
    'hotcoco',
    'faster-coco-eval',
    'ultralytics',
    'transformers',
    'pydfine',
    'yolov5',
)
_PEAK_SIDES = {False: (1024, 2048), True: (128,)}
_PEAK_SECONDS = {False: 1.0, True: 0.01}


def measure_peak(quick: bool) -> dict[str, float]:
    """Return the most operations a second of a matrix product and a convolution in each format.

    Without products in bfloat16 a processor has no peak of them: PyTorch converts numbers back and forth there.
    """
    peaks = {}
    for number_format in NUMBER_FORMATS if cpu_has_bf16() else ('float32',):
        dtype = getattr(torch, number_format)
        rates = []
        for side in _PEAK_SIDES[quick]:
            one, other = (torch.randn(side, side).to(dtype) for _ in range(2))
            rates.append(2.0 * side**3 / least_seconds(lambda one=one, other=other: one @ other, quick))
            pixels = side // 16
            conv = torch.nn.Conv2d(256, 256, 3, padding=1).to(dtype, memory_format=torch.channels_last)
            image = torch.randn(1, 256, pixels, pixels).to(dtype, memory_format=torch.channels_last)
            operations = 2.0 * 9 * 256 * 256 * pixels**2
            rates.append(operations / least_seconds(lambda conv=conv, image=image: conv(image), quick))
        peaks[number_format] = max(rates)
    return peaks


@torch.no_grad()
def least_seconds(call, quick: bool) -> float:
    """Return the least time of a call in a second of them."""
    call()
    end, least = time.perf_counter() + _PEAK_SECONDS[quick], float('inf')
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - start)
    return least


def describe_machine() -> dict[str, Any]:
    """Return the processor, the load of other processes, and the versions of the packages that are installed."""
    versions = {'detkit': detkit.__version__}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        'processor': cpu_name(),
        'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        'load before': round(os.getloadavg()[0], 2) if hasattr(os, 'getloadavg') else None,
        'system': platform.platform(),
        'python': platform.python_version(),
        'versions': versions,
    }


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='minutes')


def run_script(name: str, quick: bool, folder: Path) -> tuple[list[Comparison], str]:
    """Run a script, whose output is shown; return its comparisons, and why there are none."""
    file, arguments, tiny = SCRIPTS[name]
    path = folder / 'found.json'
    path.unlink(missing_ok=True)
    arguments = [each.replace(FOLDER, str(folder)) for each in (tiny if quick else arguments)]
    done = subprocess.run([sys.executable, str(HERE / file), *arguments, '--json', str(path)], cwd=HERE.parent)
    if done.returncode or not path.is_file():
        return [], f'exit status {done.returncode}'
    try:
        return read(path), ''
    except ValueError as error:
        return [], f'what it wrote is no result: {error}'


def tables(found: Mapping[str, Any]) -> str:
    """Return the Markdown of what was measured, between the lines that mark it."""
    machine, peaks = found['machine'], found['peaks']
    rows = []
    for name in filter(found['scripts'].__contains__, SCRIPTS):
        entries, (script, arguments, _) = found['scripts'][name], SCRIPTS[name]
        for comparison in (Comparison(**entry) for entry in entries):
            ratio, share, limit = comparison.ratio, share_of_peak(comparison, peaks), highest_ratio(comparison, peaks)
            rows.append(
                [
                    comparison.what,
                    spread(comparison.own, comparison.unit),
                    f'{comparison.peer}: {spread(comparison.theirs, comparison.unit)}' if comparison.theirs else '',
                    '' if ratio is None else f'{ratio:.2f} ×',
                    '' if share is None else f'{100 * share:.0f} %',
                    '' if limit is None else f'{limit:.2f} ×',
                    f'`{" ".join([script, *arguments]).replace(FOLDER, "folder")}`',
                ]
            )
    times = sorted(found['times'].values())
    versions = ', '.join(f'{name} {version}' for name, version in machine['versions'].items())
    lines = [
        START,
        '',
        f'{machine["processor"]}, {machine["cores"]} cores, load before {machine["load before"]}, Python '
        f'{machine["python"]}, {" to ".join(dict.fromkeys(times[:1] + times[-1:]))}; {versions}.',
        'Peak: '
        + ', '.join(f'{rate / 1e9:,.0f} GFLOP/s in {number_format}' for number_format, rate in peaks.items())
        + '. A cell is the median, with the least and the greatest sample.',
        '',
        text_table(
            ['measured', 'detkit', 'compared with', 'ratio', 'share of peak', 'at most', 'script'],
            rows,
            left=(0, 1, 2, 6),
            markdown=True,
        ),
        '',
    ]
    if found['failed']:
        lines += ['Not measured: ' + ', '.join(f'{name} ({why})' for name, why in found['failed'].items()) + '.', '']
    return '\n'.join([*lines, END])


def share_of_peak(comparison: Comparison, peaks: Mapping[str, float]) -> float | None:
    if not comparison.work:
        return None
    return comparison.work / statistics.median(comparison.own) / peaks[comparison.number_format]


def highest_ratio(comparison: Comparison, peaks: Mapping[str, float]) -> float | None:
    """Return the ratio of a side that computes the operations at the peak, and does nothing else."""
    share = share_of_peak(comparison, peaks)
    return None if share is None or comparison.ratio is None else comparison.ratio / share


def spread(values: Sequence[float], unit: str) -> str:
    return f'{statistics.median(values):.4g} {unit} ({min(values):.4g} to {max(values):.4g})'


def script_name(text: str) -> str:
    if text not in SCRIPTS:
        raise argparse.ArgumentTypeError(f'there is no benchmark {text!r}.{nearest(text, SCRIPTS) or " See --help."}')
    return text


def scripts_of_this_machine() -> list[str]:
    """Return the scripts that say something about this machine, and print which are left out, save that of GPUs."""
    names = [name for name in SCRIPTS if name != 'GPU' or torch.cuda.is_available()]
    emulated = [] if cpu_has_bf16() else [name for name in names if name.endswith('bf16')]
    if emulated:
        print(f'left out, as this processor has no products in bfloat16: {"; ".join(emulated)}')
    return [name for name in names if name not in emulated]


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run scripts, and return what they found; it is written after each, so that a kill loses one at most."""
    kept = None if args.keep is None else read_found(args.keep, SCRIPTS)
    found: dict[str, Any] = {'machine': describe_machine(), 'peaks': {}, 'times': {}, 'scripts': {}, 'failed': {}}
    if kept is not None:
        check_same_machine(args.keep, kept['machine'], found['machine'])
        found |= {key: kept[key] for key in ('times', 'scripts', 'failed')}
    found['peaks'] = measure_peak(args.quick)
    here = scripts_of_this_machine()
    with tempfile.TemporaryDirectory() as temporary:
        for name in dict.fromkeys(args.only or here):
            print(f'-- {name}', flush=True)
            comparisons, why = run_script(name, args.quick, args.folder or Path(temporary))
            for key in ('times', 'scripts', 'failed'):
                found[key].pop(name, None)
            if why:
                found['failed'][name] = why
            else:
                found['times'][name] = now()
                found['scripts'][name] = [asdict(comparison) for comparison in comparisons]
            if args.json is not None:
                try:
                    write_json(args.json, found)
                except OSError as error:  # the measurements go on, and are printed
                    print(f'--json {args.json} cannot be written: {error}', file=sys.stderr)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=fill('benchmarks: ' + '; '.join(SCRIPTS), 110),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', nargs='+', type=script_name, metavar='NAME', help='default: all that can run here')
    parser.add_argument('--quick', action='store_true', help='tiny sizes, to see that all of them run')
    parser.add_argument('--folder', type=output_folder, help='where large files are kept (default: a temporary folder)')
    parser.add_argument('--keep', type=Path, help='a json of an earlier run, whose other measurements are kept')
    parser.add_argument('--json', type=output_file, help='where to write what was measured')
    parser.add_argument('--docs', type=Path, help='the page whose tables are replaced')
    parser.add_argument('--from', type=Path, dest='source', help='a json of an earlier run, to measure nothing')
    args = parser.parse_args(argv)
    if args.source is not None:
        for name in ('only', 'quick', 'folder', 'keep'):
            if getattr(args, name):
                parser.error(f'--from measures nothing: leave out --{name}')
    if args.docs is not None:
        split_page(args.docs)
        try:
            output_file(str(args.docs))
        except argparse.ArgumentTypeError as error:
            parser.error(f'--docs: {error}')
    found = measure(args) if args.source is None else read_found(args.source, SCRIPTS)
    table = tables(found)
    print(table, flush=True)
    try:
        if args.json is not None:
            write_json(args.json, found)
        if args.docs is not None:
            write_page(args.docs, table)
    except OSError as error:
        sys.exit(f'the tables above are not all written: {error}')
    return 1 if found['failed'] else 0


if __name__ == '__main__':
    sys.exit(run(main))
