"""Studies: trials of a config with values from its search space, which processes and machines may share."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from detkit.config import load_config
from detkit.config.options import Option, parse_options
from detkit.config.resolve import resolved_text
from detkit.config.top_level import check_plain_values
from detkit.engine.folder_lock import is_locked, lock_folder, unlock_folder
from detkit.engine.run_folder import CONFIG_FILE, check_no_file, display_path, run_name
from detkit.engine.train import train_from_config
from detkit.tuning.pruning import PruningHook
from detkit.tuning.space import parse_space
from detkit.utils.errors import ConfigError, DetkitError
from detkit.utils.front_end import argument
from detkit.utils.home import with_home
from detkit.utils.tables import text_table, write_csv

JOURNAL_FILE, TRIALS_FILE, BEST_FILE = 'study.log', 'trials.csv', 'best.py'
_MAX_FAILURES = 3  # in a row; what three trials cannot do, the next ones hardly can
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class StudySettings:
    """Settings of a study; the key ``tuning`` of a config.

    Attributes:
        num_trials: finished trials of the study, those of other processes included.
        sampler: 'tpe' for the tree-structured Parzen estimator (Bergstra et al. 2011), or 'random'.
        num_startup_trials: trials with random values before the first that learns from others.
        pruner: 'median' ends a trial whose best validation so far is worse than the median of the others' at that
            epoch; 'halving' lets a quarter go on at each of its steps (asynchronous successive halving, Li et al.
            2020); 'none' ends none.
        num_startup_epochs: epochs that 'median' lets every trial train.
        seed: of the sampler. A trial's values follow from the seed, its number and the trials finished before it.
    """

    num_trials: int = 20
    sampler: str = 'tpe'
    num_startup_trials: int = 5
    pruner: str = 'median'
    num_startup_epochs: int = 1
    seed: int = 0

    def make_sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return the sampler of trial ``number``: its draws do not depend on which process makes the trial."""
        seed = self.seed * 1_000_003 + number
        if self.sampler == 'random':
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.num_startup_trials, multivariate=False)

    def make_pruner(self) -> optuna.pruners.BasePruner:
        """Return the pruner."""
        if self.pruner == 'median':
            return optuna.pruners.MedianPruner(self.num_startup_trials, self.num_startup_epochs)
        return optuna.pruners.SuccessiveHalvingPruner() if self.pruner == 'halving' else optuna.pruners.NopPruner()


@dataclass(frozen=True)
class TrialSummary:
    """A trial.

    Attributes:
        number: counts from 0.
        state: 'complete', 'pruned', 'failed' or 'running'.
        fitness: of its best validation, greater is better; None without one.
        epochs: the last validated epoch; None without one.
        seconds: duration, with the breaks of an interrupted trial; None while it runs.
        params: key -> value.
        folder: of its run; that of an earlier trial where it has the same values.
        error: the reason of a failure; '' for none.
    """

    number: int
    state: str
    fitness: float | None
    epochs: int | None
    seconds: float | None
    params: dict[str, Any]
    folder: Path
    error: str = ''


@dataclass(frozen=True)
class StudySummary:
    """The results of a study: its folder, and its trials by number."""

    folder: Path
    trials: list[TrialSummary] = field(default_factory=list)

    @property
    def ranked(self) -> list[TrialSummary]:
        """The complete trials, the best first."""
        done = [trial for trial in self.trials if trial.state == 'complete' and trial.fitness is not None]
        return sorted(done, key=lambda trial: -trial.fitness)

    def table(self, count: int = 10) -> str:
        """Return the best ``count`` trials as a table for the console."""
        names = list(self.trials[0].params) if self.trials else []
        rows = [
            [trial.number, f'{trial.fitness:.4f}', trial.epochs, *(_short(trial.params.get(name)) for name in names)]
            for trial in self.ranked[:count]
        ]
        return text_table(['trial', 'fitness', 'epochs', *names], rows)


def tune_config(
    path: str | Path,
    options: Mapping[str, Any] | Iterable[str] | None = None,
    space: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    work_dir: str | Path | None = None,
    storage: str | None = None,
    device: str | None = None,
    amp: bool | str | None = None,
) -> StudySummary:
    """Train a config with values from a search space, and find the best ones.

    Each trial is a run of its own in ``work_dir/trial_0000``, …, which may be compared, resumed and tested as any
    other. Calling it again goes on with the study: a trial that was interrupted goes on from its last checkpoint,
    further ones are made until there are ``num_trials``. Processes that are given the same folder, or database, share
    the study.

    Args:
        path: the config file.
        options: changes to the config in all trials, as ``--cfg-options``.
        space: the search space, see ``parse_space``; None for the config's ``search_space``.
        settings: replaces values of the config's ``tuning``, see ``StudySettings``.
        work_dir: the study's folder; None for ``work_dirs/<config name>-tune``.
        storage: URL of a database as SQLAlchemy takes it (``postgresql://…``), for machines that share no folder; None
            for a journal in the study's folder.
        device, amp: as ``train_from_config``.

    Raises:
        ConfigError: the search space, or a value of it, is wrong; the config has no validation; the study there has
            another config or search space; three trials in a row fail.
        TrainingStopped: a signal stopped a trial, which goes on when this is called again.
    """
    study = _Study(Path(path), parse_options(options), space, settings, work_dir, storage)
    study.run(device, amp)
    return study.summary()


class _Study:
    """The trials of a config; see ``tune_config`` for the arguments."""

    def __init__(
        self,
        path: Path,
        options: list[Option],
        space: Mapping[str, Any] | None,
        settings: Mapping[str, Any] | None,
        work_dir: str | Path | None,
        storage: str | None,
    ) -> None:
        self.path, self.options = path, options
        cfg = load_config(path, options)
        self.parameters = parse_space(cfg.get('search_space') or {} if space is None else space)
        if not self.parameters:
            raise ConfigError(
                f'{path} has no search_space. Add one, such as '
                "search_space = {'optim_wrapper.optimizer.lr': dict(low=1e-4, high=1e-1, log=True)}, "
                f'or give {argument("space", option="--search KEY=LOW:HIGH[:log] or KEY=VALUE,VALUE")}.'
            )
        if cfg.get('val_dataloader') is None:
            raise ConfigError(
                f'{path} has no validation (val_dataloader), by which trials are judged'
                '; write val_dataloader, val_cfg and val_evaluator'
            )
        tuning = {**(cfg.get('tuning') or {}), **(settings or {})}
        check_plain_values({'tuning': tuning}, cfg.origins)
        self.settings = StudySettings(**tuning)
        self._check_space()
        self.folder = Path(with_home(work_dir) or Path('work_dirs') / f'{run_name(path, cfg)}-tune').absolute()
        check_no_file(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # its lines repeat those below
        self.study = _open_study(storage, self.folder)
        self.study.pruner = self.settings.make_pruner()
        self._check_same_study(resolved_text(cfg))

    def _check_space(self) -> None:
        """Load the config with each value of the space, or the ends of each range."""
        for parameter in self.parameters:
            for value in parameter.extremes:
                try:
                    load_config(self.path, [*self.options, *parse_options({parameter.key: value})])
                except DetkitError as error:
                    raise ConfigError(f'the value {value!r} of search_space[{parameter.key!r}]: {error}') from error

    def _check_same_study(self, config: str) -> None:
        """Refuse to go on with a study of another config or search space."""
        own = {'config': config, 'search_space': repr(self.parameters)}
        known = self.study.user_attrs
        for name, text in own.items():
            if name in known and known[name] != text:
                raise ConfigError(
                    f'the study in {display_path(self.folder)} was begun with another {name.replace("_", " ")}. '
                    f'Give another folder by {argument("work_dir")}, or the same config, options and search space.'
                )
            if name not in known:
                self.study.set_user_attr(name, text)

    def run(self, device: str | None, amp: bool | str | None) -> None:
        """Make trials until there are as many as the settings say."""
        failures = 0
        while True:
            trial = self._interrupted() or self._next()
            if trial is None:
                return
            failures = 0 if self._run_trial(trial, device, amp) else failures + 1
            self._write()
            if failures == _MAX_FAILURES:
                last = self.study.get_trials(deepcopy=False)[trial.number]
                raise ConfigError(f'{failures} trials in a row have failed; the last: {last.user_attrs["error"]}')

    def _interrupted(self) -> optuna.Trial | None:
        """Return a trial that its process has not finished and that no process works on, locked for this one."""
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            folder = self._folder_of(frozen.number)
            if folder.is_dir() and not is_locked(folder) and lock_folder(folder) is None and is_locked(folder):
                return optuna.Trial(self.study, frozen._trial_id)
        return None

    def _next(self) -> optuna.Trial | None:
        """Return a new trial, its folder locked for this process; None where there are enough."""
        while True:
            trials = self.study.get_trials(deepcopy=False)
            finished = sum(trial.state in _FINISHED for trial in trials)
            if finished + self._at_work(trials) >= self.settings.num_trials:
                return None
            trial = self.study.ask()
            folder = self._folder_of(trial.number)
            folder.mkdir(parents=True, exist_ok=True)
            if lock_folder(folder) is None:
                return trial  # else another process took it for one that was interrupted

    def _at_work(self, trials: list[FrozenTrial]) -> int:
        """Return how many trials other processes that share the folder work on."""
        count = 0
        for trial in trials:
            if trial.state is TrialState.RUNNING and self._folder_of(trial.number).is_dir():
                count += lock_folder(self._folder_of(trial.number)) is not None
                unlock_folder(self._folder_of(trial.number))
        return count

    def _run_trial(self, trial: optuna.Trial, device: str | None, amp: bool | str | None) -> bool:
        """Train a trial to its end; return whether it did not fail."""
        self.study.sampler = self.settings.make_sampler(trial.number)
        params = {parameter.key: parameter.suggest(trial) for parameter in self.parameters}
        shown = ', '.join(
            f'{key}={value:.4g}' if isinstance(value, float) else f'{key}={value}' for key, value in params.items()
        )
        print(f'trial {trial.number} (of {self.settings.num_trials}): {shown}', flush=True)
        trials = self.study.get_trials(deepcopy=False)
        done = [other for other in trials if other.state is TrialState.COMPLETE and other.params == trial.params]
        if done:  # equal seeds and values make an equal run
            print(f'trial {trial.number}: as trial {done[0].number}, which is not trained again', flush=True)
            trial.set_user_attr('repeats', done[0].number)
            self.study.tell(trial, done[0].value)
            unlock_folder(self._folder_of(trial.number))
            return True
        reported = set(trials[trial.number].intermediate_values)
        try:
            runner = train_from_config(
                str(self.path),
                [*self.options, *parse_options(params)],
                work_dir=str(self._folder_of(trial.number)),
                resume=True,
                amp=amp,
                device=device,
                hooks=[PruningHook(trial, reported)],
            )
        except optuna.TrialPruned as pruned:
            print(f'trial {trial.number}: {pruned}', flush=True)
            self.study.tell(trial, state=TrialState.PRUNED)
            return True
        except DetkitError as error:
            self._fail(trial, str(error))
            return False
        except Exception as error:
            self._fail(trial, f'{type(error).__name__}: {error}')
            raise
        value = runner.train_loop.best_fitness
        if value is None:
            self._fail(trial, f'no validation gave a result of {runner.train_loop.best_metric!r}')
            return False
        self.study.tell(trial, value)
        return True

    def _fail(self, trial: optuna.Trial, reason: str) -> None:
        print(f'trial {trial.number} failed: {reason}', flush=True)
        trial.set_user_attr('error', reason)
        self.study.tell(trial, state=TrialState.FAIL)
        unlock_folder(self._folder_of(trial.number))

    def _folder_of(self, number: int) -> Path:
        return self.folder / f'trial_{number:04d}'

    def _write(self) -> None:
        """Write the table of the trials, and the best one's config."""
        summary = self.summary()
        names = [parameter.key for parameter in self.parameters]
        columns = ['trial', 'state', 'fitness', 'epochs', 'seconds', *names, 'error']
        rows = [
            [t.number, t.state, t.fitness, t.epochs, t.seconds, *(t.params.get(name) for name in names), t.error]
            for t in summary.trials
        ]
        write_csv(self.folder / TRIALS_FILE, columns, rows)
        best = next(iter(summary.ranked), None)
        if best is not None and (best.folder / CONFIG_FILE).is_file():
            shutil.copyfile(best.folder / CONFIG_FILE, self.folder / BEST_FILE)

    def summary(self) -> StudySummary:
        """Return the results so far."""
        return StudySummary(self.folder, [self._summarize(trial) for trial in self.study.get_trials(deepcopy=False)])

    def _summarize(self, trial: FrozenTrial) -> TrialSummary:
        state = {TrialState.FAIL: 'failed'}.get(trial.state, trial.state.name.lower())
        return TrialSummary(
            number=trial.number,
            state=state,
            fitness=trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
            epochs=trial.last_step,
            seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 1),
            params=dict(trial.params),
            folder=self._folder_of(trial.user_attrs.get('repeats', trial.number)),
            error=trial.user_attrs.get('error', ''),
        )


def _open_study(storage: str | None, folder: Path) -> optuna.Study:
    """Return the study of a folder, from its journal or from a database.

    Raises:
        ConfigError: the database cannot be opened, or the journal cannot be read.
    """
    try:
        backend = storage or JournalStorage(JournalFileBackend(str(folder / JOURNAL_FILE)))
        return optuna.create_study(storage=backend, study_name=folder.name, direction='maximize', load_if_exists=True)
    except Exception as error:  # what is wrong in a journal shows as any error of optuna, in a URL as any of SQLAlchemy
        where = storage or display_path(folder / JOURNAL_FILE)
        raise ConfigError(f'the study in {where} cannot be opened: {type(error).__name__}: {error}') from error


def _short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
