"""The benchmark that reads annotations: it runs, on a tiny size, and measures what it prints."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is read from /proc')


@pytest.fixture
def benchmark(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import read_annotations

    return read_annotations


def test_all_ways_read_the_same_dataset(benchmark, tmp_path, capsys, monkeypatch):
    own, times = benchmark.run_child, []

    def run_child(python, *arguments, **variables):
        """Import torch once: of the children one is enough."""
        if 'pycocotools' in arguments and len(variables) and not times:
            times.append(own(python, *arguments, **variables))
        if 'pycocotools' in arguments:
            return times[0]
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(sys, 'argv', ['read_annotations.py', *arguments])
        with monkeypatch.context() as patch:
            printed = []
            patch.setattr('builtins.print', lambda *values, **_: printed.append(values[0]))
            benchmark.main()
        return json.loads(printed[-1])

    monkeypatch.setattr(benchmark, 'run_child', run_child)
    monkeypatch.setattr('detkit.datasets.formats.coco_cache._LEAST_BYTES', 0)
    arguments = ['--folder', str(tmp_path), '--images', '12', '--bboxes', '40', '--rounds', '2', '--epochs', '2']
    monkeypatch.setattr(sys, 'argv', ['read_annotations.py', *arguments, '--workers', '0', '1'])
    found = benchmark.main()
    lines = [line.split(':')[0].strip() for line in capsys.readouterr().out.splitlines()]
    ways = ('detkit', 'detkit kept', 'detkit labels')
    whats = ('reading', 'reading (CPU)', 'memory of reading')
    titles = [f'{what}, 12 images, 40 objects, {way}' for way in ways for what in whats]
    assert lines[1:] == [*titles, '0 workers', '1 workers']
    assert [each.peer for each in found] == ['pycocotools'] * 6 + [''] * 3 and len(found[0].own) == 2
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


def test_servers_with_and_without_batches_are_set_side_by_side(repo, monkeypatch, tmp_path, capsys):
    """On servers in this process, to which the benchmark's clients send."""
    for package in ('fastapi', 'python_multipart', 'uvicorn'):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    monkeypatch.syspath_prepend(str(repo / 'tests' / 'test_serving'))
    import serving
    from serving_helpers import LIMITS, running
    from small_models import write_checkpoint

    from detkit.api import Detector
    from detkit.serving.model import ServedModel

    model = ServedModel(Detector(write_checkpoint(tmp_path / 'x.pth'), device='cpu'), LIMITS)
    monkeypatch.setattr(serving, 'SHAPES', ((48, 64), (64, 48)))

    @contextmanager
    def serve(name: str, options: list[str]) -> Iterator[int]:
        with running(model, batch_size=int(options[options.index('--batch-size') + 1])) as client:
            yield client.port

    monkeypatch.setattr(serving, 'serving', serve)
    arguments = ['x.pth', '--clients', '6', '--requests', '2', '--rounds', '1', '--batch-size', '4']
    assert serving.main([*arguments, '--query', 'img_size=64']) == 0
    title, _, alone, batched = capsys.readouterr().out.splitlines()
    assert title == '6 clients, 2 requests each'
    assert alone.split()[:2] == ['no', 'batches'] and alone.split()[-3:] == ['1.00', '0', '1.00']
    assert batched.split()[:3] == ['batches', 'of', '4'] and batched.split()[-2] == '0'
    assert serving.main([*arguments, '--query', 'img_size=64&wrong=1']) == 1
    assert capsys.readouterr().out.splitlines()[2].split()[-2] == '12'


def test_the_memory_of_tiled_prediction_is_measured(repo, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import tiled_prediction

    arguments = ['--folder', str(tmp_path), '--side', '300', '--tile', '128', '--img-size', '64', '--score-thr', '0.0']
    monkeypatch.setattr(sys, 'argv', ['tiled_prediction.py', *arguments, '--max-per-img', '50', '--stores', 'npy'])
    tiled_prediction.main()
    title, line = capsys.readouterr().out.splitlines()
    assert title == '300 x 300 pixels (0 MB decoded), tiles of 128' and int(line.split()[1]) > 0
    assert {path.name for path in tmp_path.iterdir()} == {'scene.npy', 'scene.png', 'scene.jpg'}
    peak, own, before = (float(value) for value in re.findall(r'(\d+) MB[,)]? ?', line.partition('peak')[2] + ',')[:3])
    assert peak >= own >= before > 50


def test_backends_of_coco_evaluation_are_set_beside_pycocotools(repo, monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import comparison
    import evaluation

    path = tmp_path / 'found.json'
    found = evaluation.main(['--images', '6', '--predictions', '9', '--rounds', '2', '--json', str(path)])
    *whole, own = found
    assert whole[-1].what.endswith('6 images, 54 boxes, pycocotools') and whole[-1].peer == 'pycocotools'
    assert all(len(each.own) == len(each.theirs) == 2 and each.ratio > 0 for each in whole)
    assert own.ratio is None and all(
        0 < part < all_of_it for part, all_of_it in zip(own.own, whole[0].own, strict=True)
    )
    lines = [each.line for each in found]
    assert [each.line for each in comparison.read(path)] == lines == capsys.readouterr().out.splitlines()
