"""Reports of a benchmark: tables, JSON and CSV."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detkit import __version__
from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.speed.benchmarking import Benchmark, Measurement
from detkit.analysis.speed.paired_timing import mean_interval, ratio_interval
from detkit.engine.environment import cpu_name
from detkit.evaluation.gathered_metric import is_defined
from detkit.evaluation.headline import headline_names
from detkit.utils.files import write_text
from detkit.utils.numbers import count_text
from detkit.utils.tables import text_table, write_csv

# How many interquartile ranges above the upper quartile a time is far out (Tukey, Exploratory Data Analysis, 1977).
_FAR_OUT = 3.0


def spread_of(seconds: np.ndarray) -> dict[str, float]:
    """Return quantiles of times ``(K, R)`` in ms, their interquartile range as a share of the median, and outliers.

    The quantiles include the outliers, since a user waits for those, too.
    """
    ms = seconds.ravel() * 1e3
    p25, p50, p75, p90, p99 = np.quantile(ms, [0.25, 0.5, 0.75, 0.9, 0.99])
    return {
        'p50': float(p50),
        'p90': float(p90),
        'p99': float(p99),
        'spread': float((p75 - p25) / p50),
        'far_out': int((ms > p75 + _FAR_OUT * (p75 - p25)).sum()),
        'count': ms.size,
    }


def verdict(found: Interval) -> str:
    """Say what a ratio of times means for the variant."""
    if found.low > 1:
        return 'slower'
    return 'faster' if found.high < 1 else 'no difference shown'


def console_tables(found: Benchmark, confidence: float = 0.95) -> str:
    """Return tables of the models and, for each batch size, of the times of the network or step and of each phase."""
    parts = [_conditions(found), _models_table(found)]
    for batch_size in found.measurements[0].seconds:
        parts += [_main_table(found, batch_size, confidence), _phases_table(found, batch_size, confidence)]
    if any(own.agreement is not None for own in found.measurements):
        parts.append(_agreement_table(found))
    far_out = sum(spread_of(_main(found, own, size))['far_out'] for own in found.measurements for size in own.seconds)
    total = sum(taken.shape[0] * taken.shape[1] for own in found.measurements for taken in own.seconds.values())
    if found.settings.split is not None:
        parts.append(f'Metrics of the {found.settings.split} data, whose images are padded to squares.')
    parts.append(
        f'{confidence:.0%} intervals. spread: width of the middle half of the times, as a share of p50. '
        f'{far_out} of {total} times lie more than {_FAR_OUT:g} such widths above it; the percentiles include '
        'them, the ratios do not depend on them.'
    )
    if any(own.variant.checkpoint is None for own in found.measurements) and 'postprocess' in found.phases:
        parts.append('With random weights the number of predictions is arbitrary: time postprocess with a checkpoint.')
    return '\n'.join(parts)


def _conditions(found: Benchmark) -> str:
    taken = next(iter(found.measurements[0].seconds.values()))
    count = len(found.measurements)
    name = _gpu_name(found.device) or f'{cpu_name()}, {count_text(torch.get_num_threads(), "thread")}'
    return (
        f'{found.device} ({name}), torch {torch.__version__}; '
        + (f'{count} variants in turns, ' if count > 1 else '')
        + f'{taken.shape[0]} blocks of {taken.shape[1]} rounds'
    )


def _gpu_name(device: torch.device) -> str | None:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else None


def _models_table(found: Benchmark) -> str:
    first = found.measurements[0]
    where = 'MiB' if found.device.type == 'cpu' else 'GPU MiB'
    costs = ['size', 'GFLOPs'] if first.img_size else []
    header = ['', 'parameters', *costs, *(f'{where}, batch {size}' for size in first.memory)]
    rows = []
    for own in found.measurements:
        row = [own.variant.label, '-' if own.parameters is None else f'{own.parameters:,}']
        if costs:
            row += [f'{own.img_size} x {own.img_size}', '-' if own.flops is None else f'{own.flops / 1e9:.2f}']
        peaks = [own.memory[size].own for size in first.memory]
        rows.append([*row, *('-' if peak is None else f'{peak:.0f}' for peak in peaks)])
    return text_table(header, rows)


def _agreement_table(found: Benchmark) -> str:
    rows = []
    for own in found.measurements:
        if own.agreement is not None:
            numbers = (own.agreement.bboxes, own.agreement.scores)
            differences = ['-' if value is None else f'{value:.2g}' for value in numbers]
            rows.append([own.variant.label, *differences, f'{own.agreement.unmatched} of {own.agreement.total}'])
    title = 'predictions beside those of the first variant of the checkpoint (largest differences)'
    return f'{title}\n{text_table(["", "boxes, px", "scores", "without partner"], rows)}'


def _main(found: Benchmark, own: Measurement, batch_size: int) -> np.ndarray:
    """Return the seconds ``(K, R)`` of the model's own phase."""
    return own.seconds[batch_size][..., found.main]


def _whole(found: Benchmark, own: Measurement, batch_size: int) -> np.ndarray:
    """Return the seconds ``(K, R)`` of all phases together."""
    return own.seconds[batch_size].sum(-1)


def _main_table(found: Benchmark, batch_size: int, confidence: float) -> str:
    rows, metrics = [], _metric_names(found)
    for own in found.measurements:
        spread = spread_of(_main(found, own, batch_size))
        rows.append(
            [
                own.variant.label,
                *(f'{spread[name]:.2f}' for name in ('p50', 'p90', 'p99')),
                f'{spread["spread"]:.1%}',
                f'{batch_size / spread["p50"] * 1e3:.1f}',
                *_compared(found, own, _main, batch_size, confidence),
                *(f'{own.metrics[name]:.4f}' if is_defined(own.metrics.get(name, -1)) else '-' for name in metrics),
            ]
        )
    compared = ['time ratio', ''] if len(rows) > 1 else []
    columns = [name.rpartition('/')[2].replace('_', ' ') for name in metrics]
    header = ['', 'p50', 'p90', 'p99', 'spread', 'images/s', *compared, *columns]
    title = f'{found.phases[found.main]}, batch {batch_size} (ms a batch)'
    return f'{title}\n{text_table(header, rows, left=(0, 7) if compared else (0,))}'


def _metric_names(found: Benchmark) -> list[str]:
    """Return the names of the metrics to show: the headline ones of all variants."""
    names = dict.fromkeys(name for own in found.measurements for name in own.metrics)
    return headline_names(names) or list(names)


def _phases_table(found: Benchmark, batch_size: int, confidence: float) -> str:
    trains = found.phases[found.main] == 'step'
    rows = []
    for own in found.measurements:
        medians = np.median(own.seconds[batch_size], (0, 1)) / batch_size * 1e3
        whole = float(np.median(_whole(found, own, batch_size)))
        row = [own.variant.label, *(f'{value:.2f}' for value in medians), f'{whole / batch_size * 1e3:.2f}']
        if trains:
            row.append(f'{math.ceil(medians[0] / medians[1])}')
        else:
            row += [f'{batch_size / whole:.1f}', *_compared(found, own, _whole, batch_size, confidence)[:1]]
        rows.append(row)
    header = ['', *found.phases, 'whole', *(['workers needed'] if trains else ['images/s', 'time ratio'])]
    return f'phases, batch {batch_size} (ms an image, medians)\n{text_table(header[: len(rows[0])], rows)}'


def _compared(
    found: Benchmark,
    own: Measurement,
    seconds: Callable[[Benchmark, Measurement, int], np.ndarray],
    batch_size: int,
    confidence: float,
) -> list[str]:
    """Return the ratio of a variant's time to that of the first, and a verdict; nothing if there is one variant."""
    first = found.measurements[0]
    if len(found.measurements) == 1:
        return []
    if own is first:
        return ['1', '']
    ratio = ratio_interval(seconds(found, own, batch_size), seconds(found, first, batch_size), confidence)
    return [f'{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})', verdict(ratio)]


def as_dict(found: Benchmark, confidence: float = 0.95) -> dict[str, Any]:
    """Return all results but the single times as plain types. Times are in ms a batch."""
    environment = {
        'device': str(found.device),
        'processor': cpu_name(),
        'threads': torch.get_num_threads(),
        'gpu': _gpu_name(found.device),
        'torch': torch.__version__,
        'detkit': __version__,
        'python': platform.python_version(),
        'system': platform.platform(),
    }
    settings = {**asdict(found.settings), 'confidence': confidence}
    variants = [
        {
            'label': own.variant.label,
            'config': own.variant.config,
            'checkpoint': own.variant.checkpoint,
            'mode': own.variant.mode.name,
            'parameters': own.parameters,
            'flops': own.flops,
            'img_size': own.img_size,
            'agreement': None if own.agreement is None else asdict(own.agreement),
            'metrics': own.metrics,
            'batches': {str(size): _batch(found, own, size, confidence) for size in own.seconds},
        }
        for own in found.measurements
    ]
    return {'environment': environment, 'settings': settings, 'phases': list(found.phases), 'variants': variants}


def _batch(found: Benchmark, own: Measurement, size: int, confidence: float) -> dict[str, Any]:
    taken, first = own.seconds[size], found.measurements[0].seconds[size]
    phases = {}
    for name, seconds, others in [
        *((name, taken[..., i], first[..., i]) for i, name in enumerate(found.phases)),
        ('whole', taken.sum(-1), first.sum(-1)),
    ]:
        phases[name] = {
            **spread_of(seconds),
            'level': asdict(mean_interval(seconds * 1e3, confidence)),
            'ratio': asdict(ratio_interval(seconds, others, confidence)),
        }
    memory = own.memory.get(size)
    return {
        'blocks': taken.shape[0],
        'rounds': taken.shape[1],
        'phases': phases,
        'images_per_second': size / float(np.median(taken[..., found.main])),
        'memory_mib': None if memory is None else {**asdict(memory), 'own': memory.own},
    }


def write_benchmark_json(found: Benchmark, path: str | Path, confidence: float = 0.95) -> None:
    """Write all results but the single times as JSON."""
    write_text(path, json.dumps(as_dict(found, confidence), indent=1) + '\n')


def write_benchmark_csv(found: Benchmark, path: str | Path, confidence: float = 0.95) -> None:
    """Write a CSV file with a row for each variant and batch size; times are in ms a batch."""
    rows, metrics = [], _metric_names(found)
    for variant in as_dict(found, confidence)['variants']:
        for size, batch in variant['batches'].items():
            row = {key: value for key, value in variant.items() if key not in ('batches', 'agreement', 'metrics')}
            row |= {name: variant['metrics'].get(name) for name in metrics}
            row |= {f'{key}_difference': (variant['agreement'] or {}).get(key) for key in ('bboxes', 'scores')}
            row |= {'batch_size': size, 'images_per_second': batch['images_per_second']}
            row['memory_mib'] = (batch['memory_mib'] or {}).get('own')
            for name, phase in batch['phases'].items():
                row |= {f'{name}_{key}': phase[key] for key in ('p50', 'p90', 'p99', 'spread', 'far_out')}
                row |= {f'{name}_ratio': phase['ratio']['value']}
                row |= {f'{name}_ratio_{end}': phase['ratio'][end] for end in ('low', 'high')}
            rows.append(row)
    write_csv(path, list(rows[0]), [row.values() for row in rows])
