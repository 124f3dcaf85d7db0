"""Training from a config file, as ``detkit train`` does it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import distributed

from detkit.config import find_config, load_config, origin_of_resolved
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.names import config_name
from detkit.config.options import Option, parse_options
from detkit.config.source import read_source
from detkit.config.start import edit_lines, edits, start_of
from detkit.engine.hooks import Hook
from detkit.engine.run_folder import (
    CONFIG_FILE,
    display_path,
    is_same_folder,
    newest_run,
    run_name,
    run_of_config,
)
from detkit.engine.runner import Runner
from detkit.utils.errors import ConfigError
from detkit.utils.front_end import argument, changing, resuming
from detkit.utils.home import with_home


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
        'work_dir': with_home(work_dir),
        'resume': True if resume == 'auto' else with_home(resume),
        'optim_wrapper.amp': amp,
        'device': device,
        'randomness.seed': seed,
        'launcher': launcher,
        'train_cfg.compile': compile,
    }
    options = parse_options(options)
    options += [Option(key, value, adds=True) for key, value in settings.items() if value is not None]
    file = find_config(path)
    cfg = load_config(*_of_resumed_run(file, options))
    if cfg.get('resume') and all(option.key != 'resume' for option in options):  # a key of the config's own
        cfg = load_config(*_of_resumed_run(file, [*options, Option('resume', cfg.resume, adds=True)]))
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
    is_other = run is None or not is_same_folder(run, stored.parent)
    if is_other:
        _check_origin(stored, path)
    _check_weights_unused(stored, given)
    rest = options if run is not None else _without_built(stored, path, options)
    if is_other:
        _check_edits(stored, path, options, rest)
    return stored, rest


def _check_origin(stored: Path, path: Path) -> None:
    """Raise ``ConfigError`` where a run to be resumed with its own config ``stored`` was started with another one."""
    origins = _origins(stored)
    if not origins or any(_is_same(origin, path) for origin in origins):
        return
    raise ConfigError(
        f'the run in {display_path(stored.parent)} was started with {origins[0]} and goes on with its own '
        f'config, so that {path} would have no effect. To resume it give {origins[0]} or {display_path(stored)}; to '
        f'train {path} leave {resuming()} out, or give another {argument("work_dir")}'
    )


def _origins(stored: Path) -> list[Path]:
    """Return the config that a run was started with, and where that is another run's own, the one of that run, too."""
    origins: list[Path] = []
    while (origin := origin_of_resolved(origins[-1] if origins else stored)) is not None:
        if Path(origin).resolve() in {each.resolve() for each in (stored, *origins)}:
            break
        origins.append(Path(origin))
    return origins


def _is_same(origin: Path, path: Path) -> bool:
    name = config_name(path)
    if name is not None and origin.with_suffix('').as_posix().endswith(f'configs/{name}'):
        return True  # perhaps of another installation
    # It may have been moved, or started in another working folder.
    return origin.resolve() == path.resolve() or (origin.name == path.name and not origin.exists())


def _check_edits(stored: Path, path: Path, options: list[Option], rest: list[Option]) -> None:
    """Raise ``ConfigError`` where a run goes on with its own config, and the one that it was started with was edited.

    Args:
        stored: the run's own config.
        path: the config that the run was started with, as it is now.
        options: the options of the command that resumes the run.
        rest: those of them that ``stored`` takes.
    """
    origins = _origins(stored)
    steps = next((steps for steps, origin in enumerate(origins) if _is_same(origin, path)), 0)
    former = start_of(stored)
    former = former and former.earlier(steps)
    if former is None or not former.is_edited(path):
        return
    run = f'the run in {display_path(stored.parent)}'
    since = f'the run was started from whose config {run} was made' if steps else f'{run} was started'
    try:
        found = edits(former, path, options, load_config(stored, rest, need_classes=False))
    except ConfigError as error:
        raise ConfigError(
            f'{str(error).rstrip(".")}. {path} was edited since {since}, which goes on with its own config: '
            f'give {display_path(stored)} to resume it'
        ) from error
    if found:
        raise ConfigError(
            f'{path} was edited since {since}, which goes on with its own config, so that this would have no '
            f'effect:{edit_lines(found)}\nTo resume the run without it give {display_path(stored)}; to resume it with '
            f'other values give these by {changing()}; to train {path} leave {resuming()} out'
        )


def _check_weights_unused(stored: Path, given: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for weights to start from that a run, whose config is ``stored``, was not started from."""
    keys = [key for key in ('load_from', 'default_load_from') if key in given]
    if not keys or not any(stored.parent.glob('*.pth')):
        return
    own = load_config(stored, need_classes=False)
    for key in keys:
        if given[key] != own.get(key):
            raise ConfigError(
                f'{key}={given[key]} has no effect on the run in {display_path(stored.parent)}, which is resumed from '
                f'its own checkpoint: leave it out, or start another run without {resuming()}'
            )


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
