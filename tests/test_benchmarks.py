"""The benchmark that reads annotations: it runs, on a tiny size, and measures what it prints."""

import json
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is read from /proc')


@pytest.fixture
def benchmark(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import read_annotations

    return read_annotations


def test_all_ways_read_the_same_dataset(benchmark, tmp_path, capsys, monkeypatch):
    own = benchmark.run_child

    def run_child(python, *arguments):
        """Import torch once: of the children one is enough."""
        if 'pycocotools' in arguments:
            return own(python, *arguments)
        monkeypatch.setattr(sys, 'argv', ['read_annotations.py', *arguments])
        with monkeypatch.context() as patch:
            printed = []
            patch.setattr('builtins.print', lambda *values, **_: printed.append(values[0]))
            benchmark.main()
        return json.loads(printed[-1])

    monkeypatch.setattr(benchmark, 'run_child', run_child)
    arguments = ['--folder', str(tmp_path), '--images', '12', '--bboxes', '40', '--rounds', '2', '--epochs', '2']
    monkeypatch.setattr(sys, 'argv', ['read_annotations.py', *arguments, '--workers', '0', '1'])
    benchmark.main()
    lines = [line.split(':')[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == ['detkit', 'detkit labels', 'pycocotools', '0 workers', '1 workers']
    content = json.loads((tmp_path / 'annotations.json').read_text())
    assert len(content['images']) == 12 and len(content['annotations']) == 40
    labels = sorted((tmp_path / 'labels' / 'train').iterdir())
    assert len(labels) == 12 and sum(len(path.read_text().splitlines()) for path in labels) == 40


def test_what_workers_copy_is_seen(benchmark):
    """The memory of this process is its own while it has no children."""
    assert benchmark.pss_megabytes(benchmark.os.getpid()) <= benchmark.status_megabytes('VmRSS') + 1


def test_the_times_of_imports_are_set_beside_torchs(repo, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import import_time

    import_time.main(['--rounds', '1', '--cases', 'python', 'detkit configs'])
    title, *rows = capsys.readouterr().out.splitlines()
    assert 'least' in title and [row.rsplit(maxsplit=2)[0].strip() for row in rows] == [
        'python',
        'detkit configs',
        'import torch',
    ]
    with pytest.raises(RuntimeError, match='no_such_module'):
        import_time.seconds_of('import no_such_module')
