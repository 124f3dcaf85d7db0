"""What every test shares: few threads, and the place of real pictures."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Set before torch and OpenCV are imported: tests are small, and several may run at once. Processes that share the tests
# take one thread each, whatever the process that started them has.
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ['OMP_NUM_THREADS'] = '1'
os.environ.setdefault('OMP_NUM_THREADS', '2')

# A shell that starts the tests in the background has them ignore SIGINT, and whatever they start; tests of interrupts
# need it as it is in the foreground.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same of SIGHUP, which nohup has its command ignore.
if hasattr(signal, 'SIGHUP') and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Every process of the tests, workers among them, would compile all modules again.
sys.dont_write_bytecode = False
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)

# No test needs the network; those of the zoo have a server of their own.
os.environ['DETKIT_ZOO_URL'] = ''

# All that imports and collection make is kept: a look for garbage among it finds none, and takes a fifth of their time.
gc.disable()

REPO = Path(__file__).resolve().parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Give each process tests that follow each other, so that few modules prepare what their tests share twice.

    One that has done its own takes half of another's.
    """
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue('dist') == 'load' else None


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of a test as thorough that are not among its ``default_cases``, which are spread evenly."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker('default_cases') and not item.get_closest_marker('slow'):
            tests.setdefault(item.nodeid.partition('[')[0], []).append(item)
    for cases in tests.values():
        number = cases[0].get_closest_marker('default_cases').args[0]
        default = {i * len(cases) // number for i in range(number)}
        for i, item in enumerate(cases):
            if i not in default:
                item.add_marker('thorough')


def pytest_collection_finish() -> None:
    """Leave modules and tests out of every collection of garbage, which would pass over them again and again.

    What tests import and keep is passed over as well, in 6 to 9 % of their time by Python's thresholds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2000, 10, 100)
    gc.enable()


@pytest.fixture(autouse=True, scope='session')
def _freed_memory_is_kept() -> None:
    """Let all tests keep freed memory, as the first training or prediction among them makes the process do.

    Tests of layers and models take 10 to 15 % less time.
    """
    from detkit.utils.allocator import keep_freed_memory

    keep_freed_memory()


@pytest.fixture(scope='session')
def repo() -> Path:
    """The repository's root."""
    return REPO


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real sample sets (coco8-seg, coco128, ...); the test is skipped where there is none."""
    root = Path(os.environ.get('DETKIT_TEST_DATA', REPO.parent / 'shared' / 'data'))
    if not root.is_dir():
        pytest.skip(f'no real data in {root}; set DETKIT_TEST_DATA to a folder that holds coco8-seg and coco128')
    return root


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Keep torch at two threads, so that sums are the same on any machine that runs the tests."""
    import torch

    if torch.get_num_threads() > 2:
        torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _record_fuzz_cases(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Note on a test's report how many cases ``run_fuzz`` drew in it, in whichever process it ran."""
    fuzz = sys.modules.get('fuzz_strategies')
    before = fuzz.ended_cases.total() if fuzz else 0
    yield
    if fuzz and fuzz.ended_cases.total() > before:
        record_property('fuzz_cases', fuzz.ended_cases.total() - before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many drawn cases the fuzz tests of the session read."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    amounts = [
        value
        for report in reports
        if getattr(report, 'when', None) == 'teardown'
        for name, value in report.user_properties
        if name == 'fuzz_cases'
    ]
    if amounts:
        terminalreporter.write_line(f'fuzz cases: {sum(amounts):,} in {len(amounts)} tests')


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small pictures in every layout that the configs read, see ``tiny_data.py``."""
    from tiny_data import write_tiny_data
    from tiny_obb import write_tiny_obb
    from tiny_panoptic import write_tiny_panoptic
    from tiny_pose import write_tiny_pose
    from tiny_voc import write_tiny_voc

    root = write_tiny_voc(write_tiny_obb(write_tiny_pose(write_tiny_data(tmp_path_factory.mktemp('tiny')))))
    write_tiny_panoptic(root / 'panoptic')
    return root


@pytest.fixture
def scenes_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is done with the drawn sample dataset: share its scenes, see ``drawn_scenes.py``."""
    from drawn_scenes import drawn_scenes

    monkeypatch.setattr('detkit.sample_data.coco8.render_scenes', drawn_scenes)


@pytest.fixture
def charts_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of runs, not of their charts: draw each chart once and as it is, not twice and laid out in between.

    All that a chart holds is drawn, in half the time.
    """
    from matplotlib.figure import Figure

    save = Figure.savefig

    def save_as_it_is(figure: Figure, file: object, **options: object) -> None:
        figure.set_layout_engine('none')
        save(figure, file, **{**options, 'bbox_inches': None})

    monkeypatch.setattr(Figure, 'savefig', save_as_it_is)
