"""Training of several configs, one after another, so that they can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.config import load_config
from detkit.config.model_check import metric_needs
from detkit.config.options import parse_options
from detkit.config.resolve import LoadedConfig
from detkit.engine import train_from_config
from detkit.engine.run_folder import CONFIG_FILE, run_name, run_of_config
from detkit.utils.errors import ConfigError
from detkit.utils.home import with_home


def train_variants(
    configs: Sequence[str | Path],
    work_dir: str | Path = 'work_dirs/compare',
    options: Mapping[str, Any] | Iterable[str] | None = None,
    seeds: Sequence[int] = (),
    device: str | None = None,
    amp: bool | str | None = None,
) -> list[tuple[Path, Path]]:
    """Train each config, with each seed, in a folder below ``work_dir``.

    Calling it again goes on: runs that have ended are only evaluated again, and one that was stopped is resumed.

    Args:
        configs: config files; their runs are named after them, those of equal names also after their folders.
        work_dir: the folder of the runs.
        options: changes to all configs, as ``--cfg-options``.
        seeds: of everything random; empty for each config's own.
        device, amp: as ``train_from_config``.

    Returns:
        The config and the best checkpoint of each run (the last one where nothing was validated), those of a config
        side by side.

    Raises:
        ConfigError: a config is wrong, which shows before any is trained; two are the same, or have no metric in
            common.
        TrainingStopped: a signal stopped a run, which goes on when this is called again.
    """
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f'the seeds {", ".join(map(str, seeds))} are not different')
    parsed = parse_options(options)
    loaded = [load_config(path, parsed) for path in configs]
    names = _unique_names(configs, loaded)
    _check_kinds(dict(zip(names, loaded, strict=True)))
    found = []
    for path, name in zip(configs, names, strict=True):
        for seed in seeds or [None]:
            folder = Path(with_home(work_dir)) / (name if seed is None else f'{name}_seed{seed}')
            train_from_config(str(path), parsed, str(folder), resume=True, amp=amp, device=device, seed=seed)
            best = folder / 'best.pth'
            found.append((folder / CONFIG_FILE, best if best.is_file() else folder / 'last.pth'))
    return found


def _unique_names(configs: Sequence[str | Path], loaded: Sequence[LoadedConfig]) -> list[str]:
    """Return the runs' names: ``yolov8_det_n_coco8`` and ``yolo11_det_n_coco8`` of two files with one name.

    Raises:
        ConfigError: two are the same file, or of one run.
    """
    names = [run_name(path, config) for path, config in zip(configs, loaded, strict=True)]
    places = [(run_of_config(config.filename) or Path(config.filename).resolve()).parent.parts[1:] for config in loaded]
    found = names
    for depth in range(max(map(len, places), default=0) + 1):
        found = [
            '_'.join((*place[len(place) - depth :], name)) if names.count(name) > 1 else name
            for name, place in zip(names, places, strict=True)
        ]
        if len(set(found)) == len(found):
            return found
    repeated = next(name for name, unique in zip(names, found, strict=True) if found.count(unique) > 1)
    raise ConfigError(f'{names.count(repeated)} configs are called {repeated!r}; give each a name of its own')


def _check_kinds(configs: Mapping[str, LoadedConfig]) -> None:
    """Check, before hours of training, that the configs evaluate something in common.

    Raises:
        ConfigError: there is nothing.
    """
    kinds = {}
    for name, config in configs.items():
        metrics = config.get('test_evaluator') or config.get('val_evaluator') or []
        found = [metric_needs(metric) for metric in (metrics if isinstance(metrics, list | tuple) else [metrics])]
        if not found or not all(found):
            return  # a metric of one's own, which is known when it is built
        kinds[name] = {kind for needs in found for kind in needs}
    if kinds and not set.intersection(*kinds.values()):
        said = '; '.join(f'{name}: {", ".join(sorted(own))}' for name, own in kinds.items())
        raise ConfigError(
            f'the configs do different tasks, which have no metric in common ({said}). '
            'Compare configs that evaluate the same.'
        )
