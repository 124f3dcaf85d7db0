"""Training processes that are killed and hit by faults; for ``kill_and_resume.py``. Linux alone."""

from __future__ import annotations

import ctypes
import os
import random
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from detkit.engine.stop_signals import STOPPED_STATUS

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = ('SIGKILL', 'SIGTERM', 'SIGINT', 'SIGUSR1')
KILLED_IN_REPLACE = """
import os, runpy, signal, sys
replace = os.replace
def kill(source, target, **options):
    if os.path.basename(target) == {name!r}:
        os.killpg(0, signal.SIGKILL)
    replace(source, target, **options)
os.replace = kill
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name='__main__')
"""


class MissedError(Exception):
    """A run ended, or passed the point, before it could be disturbed."""


class WrongEndError(Exception):
    """A command ended otherwise than docs/reliability.md promises."""


class Attempt:
    """One start of a command in the folder of its log: a process with its workers, a group, and what it prints."""

    def __init__(self, command: list[str], log: Path) -> None:
        environment = {**os.environ, 'DETKIT_SAMPLE_URL': '', 'PYTHONPATH': str(ROOT)}
        environment.setdefault('OMP_NUM_THREADS', '1')
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            start_new_session=True,
            preexec_fn=obey_modes if os.geteuid() == 0 else None,
        )
        self.lines: list[str] = []
        self.is_checked = False  # whether its end has been looked at
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def _read(self, log: Path) -> None:
        with log.open('a') as file:
            for line in self.process.stdout:
                self.lines.append(line)
                file.write(line)
                file.flush()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return ''.join(self.lines)

    def wait_until(self, condition: Callable[[], object], poll: float = 0.01) -> None:
        """Return once ``condition`` holds.

        Raises:
            MissedError: the process ended before.
        """
        while not condition():
            if self.process.poll() is not None:
                raise MissedError(f'it had ended with status {self.process.returncode}')
            time.sleep(poll)

    def wait_until_second(self, seconds: float) -> None:
        """Wait until the process has run for ``seconds``; raises as ``wait_until``."""
        self.wait_until(lambda: time.monotonic() - self.started >= seconds)

    def signal(self, name: str, to_group: bool) -> None:
        """Send a signal to the main process, or to its workers, too."""
        (os.killpg if to_group else os.kill)(self.pid, getattr(signal, name))

    def end(self, timeout: float = 300) -> int:
        """Wait for the end, and return the exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.signal('SIGKILL', to_group=True)
            raise WrongEndError(f'did not end within {timeout:g} s') from None
        self._reader.join(10)  # workers that outlive a killed main process may hold the pipe for a while
        return status

    def workers(self) -> list[int]:
        """Return the processes that were forked from the main one."""
        try:
            children = Path(f'/proc/{self.pid}/task/{self.pid}/children').read_text().split()
            own = Path(f'/proc/{self.pid}/cmdline').read_bytes()
            return [int(pid) for pid in children if Path(f'/proc/{pid}/cmdline').read_bytes() == own]
        except OSError:  # one of them has just ended
            return []


def obey_modes() -> None:
    """Give up, in a new process of root's, the capability to write into read-only folders."""
    prctl_capbset_drop, cap_dac_override = 24, 1
    ctypes.CDLL(None).prctl(prctl_capbset_drop, cap_dac_override, 0, 0, 0)


@dataclass
class Reference:
    """The undisturbed run of a recipe."""

    folder: Path
    seconds: float
    results: str


@dataclass
class Trial:
    """A run that is disturbed.

    Attributes:
        command: what is repeated until the run is done; it is run in the folder above the run's.
        folder: the run's.
        reference: the undisturbed run.
        rng: what its moments are drawn from.
        events: descriptions of what happened, one an attempt that was disturbed.
        may_fail_to_save: whether the disturbed attempt may end with status 2, and may lack checkpoints, other than
            ``last.pth``, that were due while nothing could be written.
        damaged: files that may be damaged in the end.
        scale: factor of the moments; smaller where a run ended before its moment came.
        attempts: what was started, in order.
    """

    command: list[str]
    folder: Path
    reference: Reference
    rng: random.Random
    events: list[str] = field(default_factory=list)
    may_fail_to_save: bool = False
    damaged: set[str] = field(default_factory=set)
    scale: float = 1.0
    attempts: list[Attempt] = field(default_factory=list)

    def start(self, wrapper: str | None = None) -> Attempt:
        """Start the command; ``wrapper`` is Python code that runs it."""
        command = self.command
        if wrapper is not None:
            command = [command[0], '-c', wrapper, *command[1:]]
        log = self.folder.with_name(f'{self.folder.name}.log')
        with log.open('a') as file:
            file.write(f'---- attempt {len(self.attempts) + 1}\n')
        self.attempts.append(Attempt(command, log))
        return self.attempts[-1]

    def moment(self, low: float = 0.05, high: float = 0.95) -> float:
        """Draw the seconds after which something happens."""
        return self.rng.uniform(low, high) * self.scale * self.reference.seconds

    def expect(self, attempt: Attempt, *statuses: int, words: str = '') -> int:
        """Wait for an attempt's end, and check its status and that it printed ``words``."""
        status = attempt.end()
        attempt.is_checked = True
        if status not in statuses:
            raise WrongEndError(f'status {status} where {" or ".join(map(str, statuses))} is promised')
        if words and not re.search(words, attempt.text):
            raise WrongEndError(f'its output lacks {words!r}')
        # Python itself ends so by SIGINT while it starts; workers whose main process is killed may say so.
        if 'Traceback' in attempt.text and status not in (-signal.SIGINT, -signal.SIGKILL):
            raise WrongEndError(f'a traceback with status {status}')
        return status

    def finish(self) -> Attempt:
        """Repeat the command until it ends with status 0, and return that attempt; one under way counts."""
        going = [attempt for attempt in self.attempts if not attempt.is_checked]
        while True:
            attempt = going.pop() if going else self.start()
            may_fail = self.may_fail_to_save and len(self.attempts) == 1
            if self.expect(attempt, *((0, 2) if may_fail else (0,))) == 0:
                return attempt


def kill(trial: Trial, name: str, to_group: bool, is_first: bool) -> None:
    """Send a signal at a random moment of an attempt."""
    attempt = trial.start()
    seconds = trial.moment(0.05, 0.95 if is_first else 0.6)
    attempt.wait_until_second(seconds)
    attempt.signal(name, to_group)
    number = getattr(signal, name)
    promised = [-number] if name == 'SIGKILL' else [0, STOPPED_STATUS, -number, 128 + number]
    status = trial.expect(attempt, *promised)
    trial.events.append(f'{name} to {"all" if to_group else "main"} at {seconds:.1f} s: {status}')


def full_disk(trial: Trial, is_for_a_while: bool) -> None:
    """Let no file grow beyond 2 kB, as on a full disk; the workers are alive by then, and free of the limit."""
    attempt = trial.start()
    after_first_validation(trial, attempt)
    limit_files(attempt, 2000)
    limited = time.time()
    if is_for_a_while:
        attempt.wait_until_second(time.monotonic() - attempt.started + trial.moment(0.1, 0.3))
        limit_files(attempt, resource.RLIM_INFINITY)
        trial.may_fail_to_save = True
        trial.events.append('the disk was full for a while')
    else:
        status = trial.expect(attempt, 0, 2)
        if status == 0 and (trial.folder / 'last.pth').stat().st_mtime < limited:
            raise MissedError('its last checkpoint had been written')
        if status == 0 or 'cannot be written' not in attempt.text:
            raise WrongEndError(f'status {status} and no word on what cannot be written')
        trial.events.append(f'the disk stayed full: {status}')


def limit_files(attempt: Attempt, size: int) -> None:
    """Let no file of the main process grow beyond ``size`` bytes."""
    resource.prlimit(attempt.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def folder_gone(trial: Trial) -> None:
    """Give the run's folder another name for a while."""
    away = trial.folder.with_name(f'{trial.folder.name}.away')
    for_a_while(trial, lambda: trial.folder.rename(away), lambda: away.rename(trial.folder))
    trial.events.append('the folder was gone for a while')


def folder_read_only(trial: Trial) -> None:
    """Let nothing be made in the run's folder for a while."""
    for_a_while(trial, lambda: trial.folder.chmod(0o555), lambda: trial.folder.chmod(0o755))
    trial.events.append('the folder was read-only for a while')


def for_a_while(trial: Trial, disturb: Callable[[], object], undo: Callable[[], object]) -> None:
    """Disturb a run some time after its first validation, and undo that some seconds later."""
    attempt = trial.start()
    after_first_validation(trial, attempt)
    disturb()
    time.sleep(trial.moment(0.1, 0.3))
    undo()
    trial.may_fail_to_save = True


def worker_killed(trial: Trial) -> None:
    """Kill a worker process."""
    attempt = trial.start()
    attempt.wait_until_second(trial.moment(0.2, 0.9))
    attempt.wait_until(attempt.workers)
    workers = attempt.workers()
    os.kill(trial.rng.choice(workers), signal.SIGKILL)
    trial.events.append(f'one of {len(workers)} workers was killed')


def file_damaged(trial: Trial, name: str) -> None:
    """Kill the run, and cut a checkpoint of it short."""
    attempt = trial.start()
    after_first_validation(trial, attempt)
    attempt.signal('SIGKILL', to_group=True)
    trial.expect(attempt, -signal.SIGKILL)
    path = trial.folder / name
    os.truncate(path, int(path.stat().st_size * trial.rng.uniform(0.0, 0.99)))
    trial.damaged |= {name} - {'last.pth'}
    trial.events.append(f'SIGKILL, {name} truncated')


def killed_while_saving(trial: Trial, name: str) -> None:
    """Kill the run while it writes a checkpoint."""
    attempt = trial.start()
    if name == 'last.pth':  # best.pth is written seldom
        attempt.wait_until_second(trial.moment(0.3, 0.8))
    temporary = trial.folder / f'.{name}.tmp'
    attempt.wait_until(lambda: file_size(temporary) > 0, poll=0.0005)
    attempt.signal('SIGKILL', to_group=True)
    trial.expect(attempt, -signal.SIGKILL)
    if not file_size(temporary):
        raise MissedError(f'{name} was complete')
    trial.events.append(f'SIGKILL with {file_size(temporary):,} bytes of {name} written')


def file_size(path: Path) -> int:
    """Return the size of a file; 0 where there is none, as it may vanish at any moment."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def killed_while_rewriting(trial: Trial, name: str) -> None:
    """Kill the run, and again while it is resumed and removes from a file what came after the checkpoint."""
    attempt = trial.start()
    after_first_validation(trial, attempt)
    last, file = trial.folder / 'last.pth', trial.folder / name
    if name != 'config.py':
        attempt.wait_until(lambda: last.exists() and file.stat().st_mtime_ns > last.stat().st_mtime_ns, poll=0.002)
    attempt.signal('SIGKILL', to_group=True)
    trial.expect(attempt, -signal.SIGKILL)
    resumed = trial.start(KILLED_IN_REPLACE.format(name=name))
    if resumed.end() == 0:
        raise MissedError(f'{name} was not rewritten')
    trial.expect(resumed, -signal.SIGKILL)
    trial.events.append(f'SIGKILL, and another while {name} was rewritten')


def second_start(trial: Trial) -> None:
    """Start the command again while the run is under way."""
    attempt = trial.start()
    after_first_validation(trial, attempt)
    second = trial.start()
    if second.end() == 0:
        raise MissedError('the first had ended before the second came to its folder')
    trial.expect(second, 2, words='is in use')
    trial.events.append('started a second time meanwhile: 2')


def after_first_validation(trial: Trial, attempt: Attempt) -> None:
    """Wait for ``best.pth``, whose writing ends the first validation, and for a random time behind."""
    attempt.wait_until((trial.folder / 'best.pth').exists)
    attempt.wait_until_second(time.monotonic() - attempt.started + trial.moment(0.0, 0.4))


FAULTS: dict[str, Callable[[Trial], None]] = {
    'disk full for a while': partial(full_disk, is_for_a_while=True),
    'last.pth truncated': partial(file_damaged, name='last.pth'),
    'kill while saving last.pth': partial(killed_while_saving, name='last.pth'),
    'worker killed': worker_killed,
    'kill while rewriting scalars.json': partial(killed_while_rewriting, name='scalars.json'),
    'folder gone': folder_gone,
    'kill while rewriting results.csv': partial(killed_while_rewriting, name='results.csv'),
    'best.pth damaged': partial(file_damaged, name='best.pth'),
    'disk full to the end': partial(full_disk, is_for_a_while=False),
    'folder read-only': folder_read_only,
    'kill while saving best.pth': partial(killed_while_saving, name='best.pth'),
    'second start': second_start,
    'kill while rewriting config.py': partial(killed_while_rewriting, name='config.py'),
}
