"""Training from a config file, as ``detkit train`` does it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import distributed

from detkit.config import find_config, load_config
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.options import Option, parse_options
from detkit.config.source import read_source
from detkit.engine.hooks import Hook
from detkit.engine.run_folder import CONFIG_FILE, newest_run, run_name, run_of_config
from detkit.engine.runner import Runner
from detkit.utils.errors import ConfigError
from detkit.utils.front_end import changing


def train_from_config(
    path: str,
    options: Mapping[str, Any] | Iterable[str] | None = None,
    work_dir: str | None = None,
    resume: str | bool | None = None,
    amp: bool | str | None = None,
    device: str | None = None,
    seed: int | None = None,
    launcher: str | None = None,
    compile: bool | None = None,
    hooks: Sequence[Hook] = (),
    ends_process: bool = False,
) -> Runner:
    """Train the model that a config file describes.

    A run that is resumed is described by the config in its own folder, whatever options it was started with; the
    options given now change that.

    Args:
        path: the config file, or the name of one of detkit's; the ``config.py`` of a run makes another run beside it,
            or resumes it.
        options: ``['key=value', ...]`` or a dict.
        work_dir: the run's folder; None for ``work_dirs/<config name>``.
        resume: a checkpoint's path, or a run's folder; True or 'auto' for the newest intact checkpoint of the run
            folder; None for the config's.
        amp: mixed precision; replaces the config's; None to leave it.
        device: replaces the config's; None to leave it.
        seed: replaces the config's; None to leave it.
        launcher: how several processes were started; None for the config's.
        compile: whether the network is compiled; replaces the config's ``train_cfg.compile``; None to leave it.
        hooks: called beside the config's; no part of the config that the run writes.
        ends_process: whether the process ends when a signal has stopped training, see ``StopSignals``.
    """
    settings = {
        'work_dir': work_dir,
        'resume': True if resume == 'auto' else resume,
        'optim_wrapper.amp': amp,
        'device': device,
        'randomness.seed': seed,
        'launcher': launcher,
        'train_cfg.compile': compile,
    }
    options = parse_options(options)
    options += [Option(key, value, adds=True) for key, value in settings.items() if value is not None]
    cfg = load_config(*_of_resumed_run(find_config(path), options))
    try:
        runner = Runner(cfg)
        runner.stop_signals.ends_process = ends_process
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
    return runner


def _of_resumed_run(path: Path, options: list[Option]) -> tuple[Path, list[Option]]:
    """Return the config file and the options of a run: those of the resumed one, where ``options`` resume one."""
    given = {option.key: option.value for option in options}
    run, resume = run_of_config(path), given.get('resume')
    if resume is True:
        config = load_config(path, options, need_classes=False) if 'size' in given else None
        newest = newest_run(Path(given.get('work_dir') or Path('work_dirs') / run_name(path, config)).absolute())
        resume = run or newest
        if resume is not None:  # this very folder, not a later one that was made from its config
            options = [*options, Option('resume', str(resume), adds=True)]
        if run is None and newest is not None:  # which may be numbered
            options = [*options, Option('work_dir', str(newest), adds=True)]
    if run is not None and not given.get('work_dir'):
        options = [*options, Option('work_dir', str(run), adds=True)]
    if not resume:
        return path, options
    folder = Path(resume) if Path(resume).is_dir() else Path(resume).absolute().parent
    stored = folder / CONFIG_FILE
    if not stored.is_file() or run_of_config(stored) is None:
        return path, options
    return stored, options if run is not None else _without_built(stored, path, options)


def _without_built(stored: Path, path: Path, options: list[Option]) -> list[Option]:
    """Return the options without variables of which a run's own config holds only what was built from them.

    Args:
        stored: the run's own config.
        path: the config that the run was started with, to whose variables ``options`` were given then, too.
        options: the options of the command that resumes it.

    Raises:
        ConfigError: they give such a variable another value than the run was started with.
    """
    kept = read_source(stored).assigned
    built = [option for option in options if option.key.isidentifier() and option.key not in {*kept, *TOP_LEVEL_KEYS}]
    if not built:
        return options
    rest = [option for option in options if option not in built]
    given, own = (load_config(file, each, need_classes=False) for file, each in ((path, options), (stored, rest)))
    if different := [key for key in sorted(TOP_LEVEL_KEYS) if given.get(key) != own.get(key)]:
        raise ConfigError(
            f'{changing()}: the run in {stored.parent} is resumed with its own config, which has no variable '
            f'{" or ".join(option.key for option in built)} any more, and differs from {path} with these options in '
            f'{", ".join(different)}; leave these variables out, or start another run'
        )
    return rest
