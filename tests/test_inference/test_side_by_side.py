"""Two batches of small inputs at a time give what one after the other gives."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import current_thread, main_thread
from threading import enumerate as enumerate_threads

import numpy as np
import pytest
import torch
from small_models import write_images, write_shallow_checkpoint
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.inference import Predictor, SourceImage, predictor, side_by_side
from detkit.models.coders import DistancePointBBoxCoder
from detkit.utils.errors import DataError

OPTIONS = dict(img_size=64, score_thr=0.0, max_per_img=8)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_checkpoint(tmp_path_factory.mktemp('weights') / 'det.pth', 'det')


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def runs(monkeypatch) -> list[tuple[str, int, int]]:
    """The thread, its number of PyTorch's threads, and the images of each batch that is predicted on."""
    found = []
    plain = Predictor.predict_batch

    def predict_batch(self: Predictor, batch: dict) -> list:
        found.append((current_thread().name, torch.get_num_threads(), len(batch['inputs'])))
        return plain(self, batch)

    monkeypatch.setattr(Predictor, 'predict_batch', predict_batch)
    return found


def in_pairs(runs: list[tuple[str, int, int]]) -> list[tuple[int, int]]:
    return [run[1:] for run in runs if run[0].startswith('detkit-predict')]


@pytest.mark.parametrize('batch_size', [1, 2, 3])
def test_results_are_those_of_one_batch_after_the_other(checkpoint, tmp_path, runs, monkeypatch, batch_size):
    write_images(tmp_path, 5)
    (tmp_path / '2.png').write_text('no image')
    model = Predictor(None, checkpoint, batch_size=batch_size, **OPTIONS)
    samples = model.predict(tmp_path)
    counts = {1: [1, 1, 1, 1], 2: [2, 1, 1], 3: [2, 2]}[batch_size]  # without the image that cannot be read
    alone = {1: [1], 2: [1], 3: []}[batch_size]  # the last of five batches, and of three
    assert sorted(in_pairs(runs)) == sorted((1, count) for count in counts[: len(counts) - len(alone)])
    assert [run[1:] for run in runs if not run[0].startswith('detkit-predict')] == [(2, count) for count in alone]
    assert torch.get_num_threads() == 2

    runs.clear()
    monkeypatch.setattr(side_by_side, 'MAX_BATCH_PIXELS', 0)
    plain = model.predict(tmp_path)
    assert not in_pairs(runs) and len(runs) == len(counts)
    assert [Path(sample.img_path).name for sample in samples] == [f'{number}.png' for number in range(5)]
    assert 'skipped' in samples[2] and samples[2].skipped == plain[2].skipped
    for own, other in zip(samples, plain, strict=True):
        one, another = own.pred_instances, other.pred_instances
        assert len(one) == len(another) and (len(one) == 8 or 'skipped' in own)
        assert torch.allclose(one.scores, another.scores, atol=1e-5)
        assert torch.allclose(one.bboxes, another.bboxes, atol=1e-2)


class Counting(nn.Module):
    """A layer of another package, which may keep what it computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = x
        return x


class OwnCoder(DistancePointBBoxCoder):
    """A part of another package that is no layer."""


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    'case',
    [
        'hook',
        'global hook',
        'own layer',
        'own coder',
        'one thread',
        'autocast',
        'counted',
        'function mode',
        'iterator',
        'one batch',
    ],
)
def test_other_predictions_take_one_batch_after_the_other(checkpoint, tmp_path, runs, case):
    source = write_images(tmp_path, 4)
    model = Predictor(None, checkpoint, batch_size=4 if case == 'one batch' else 2, **OPTIONS)
    handle = None
    if case == 'hook':
        model.model.backbone.register_forward_hook(lambda *_: None)
    elif case == 'global hook':
        handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    elif case == 'own layer':
        model.model.backbone.add_module('own', Counting())
    elif case == 'own coder':
        model.model.head.bbox_coder = OwnCoder(**vars(model.model.head.bbox_coder))
    elif case == 'one thread':
        torch.set_num_threads(1)
    try:
        with {
            'autocast': torch.autocast('cpu', torch.bfloat16),
            'counted': FlopCounterMode(display=False),
            'function mode': torch.device('cpu'),
        }.get(case, nullcontext()):
            stream = model(iter(source) if case == 'iterator' else source)
            assert len(list(stream)) == 4
    finally:
        if handle is not None:
            handle.remove()
    assert runs and not in_pairs(runs)


def test_masks_are_not_predicted_side_by_side(tmp_path, runs):
    source = write_images(tmp_path, 4)
    Predictor(None, write_shallow_checkpoint(tmp_path / 'seg.pth'), **OPTIONS).predict(source)
    assert len(runs) == 4 and not in_pairs(runs)


def test_an_error_of_the_network_is_raised(checkpoint, tmp_path, monkeypatch):
    def fail(self: Predictor, batch: dict) -> list:
        raise RuntimeError(f'no memory for {Path(batch["data_samples"][0].img_path).name}')

    monkeypatch.setattr(predictor.Predictor, 'predict_batch', fail)
    with pytest.raises(RuntimeError, match=r'no memory for 0\.png'):
        Predictor(None, checkpoint, **OPTIONS).predict(write_images(tmp_path, 4))


def test_an_interrupt_while_threads_start_leaves_none_waiting(checkpoint, tmp_path, monkeypatch):
    class Interrupted(side_by_side.Barrier):
        def wait(self, timeout: float | None = None) -> int:
            if current_thread() is main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(side_by_side, 'Barrier', Interrupted)
    with pytest.raises(KeyboardInterrupt):
        Predictor(None, checkpoint, **OPTIONS).predict(write_images(tmp_path, 4))
    assert not [thread for thread in enumerate_threads() if thread.name.startswith('detkit-predict')]


def test_no_more_than_three_batches_are_decoded_before_a_result_is_taken(checkpoint):
    class Counted(SourceImage):
        def read(self, max_pixels: int = 0) -> np.ndarray:
            decoded.append(self.name)
            return np.zeros((32, 32, 3), np.uint8)

    decoded: list[str] = []
    stream = Predictor(None, checkpoint, **OPTIONS).stream_images([Counted(str(number)) for number in range(20)])
    for number in range(5):
        assert next(stream).image.name == str(number) and len(decoded) <= number + 3
    stream.close()
    assert len(decoded) <= 7


def test_only_ordinary_files_are_read_ahead(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(Path, 'read_bytes', lambda path: read.append(path.name))
    (file,) = write_images(tmp_path, 1)
    monkeypatch.setattr('detkit.inference.source_image.MAX_DOWNLOAD_BYTES', 0)  # an address is left alone
    for name in (str(file), str(tmp_path), str(tmp_path / 'gone.png'), 'https://localhost:1/a.png', 'a\0b'):
        SourceImage(name).preload()
    SourceImage('b', b'encoded').preload()
    SourceImage('c', error='is no image').preload()
    assert read == [file.name]
    with pytest.raises(DataError, match='gone'):
        SourceImage(str(tmp_path / 'gone.png')).read()
