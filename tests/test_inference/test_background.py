import os
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_models import write_images, write_shallow_checkpoint

from detkit.inference import FolderOutputs, Predictor, Result, ResultFolder, find_sources
from detkit.inference.background import in_background
from detkit.inference.sources import images_of
from detkit.inference.to_folder import predict_to_folder


def no_bytes(item: int) -> int:
    return 0


def test_results_come_in_order_and_are_finished_in_order():
    finished: list[int] = []

    def make(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return 2 * item

    def finish(item: int, made: int) -> int:
        finished.append(item)
        return made + 1

    found = list(in_background(range(40), make, finish, no_bytes, threads=4))
    assert found == [(item, 2 * item + 1) for item in range(40)] and finished == list(range(40))


def test_the_loop_goes_on_meanwhile():
    """Making an item waits for the loop to have gone on to the next: nothing is done in turns."""
    went_on = threading.Event()

    def items():
        yield 0
        went_on.set()
        yield 1

    found = in_background(items(), lambda item: went_on.wait(10), lambda item, made: made, no_bytes, threads=1)
    assert list(found) == [(0, True), (1, True)]


@pytest.mark.parametrize(('size', 'most'), [(0, 32), (100_000_000, 2), (10**9, 1)])
def test_few_items_are_under_way(size: int, most: int):
    taken: list[int] = []
    may_go = threading.Event()

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    done = in_background(items(), lambda item: may_go.wait(10), lambda item, made: None, lambda item: size, threads=2)
    threading.Timer(0.2, may_go.set).start()
    next(done)
    assert len(taken) <= most + 1
    assert len(list(done)) == 99


@pytest.mark.parametrize('step', ['make', 'finish'])
def test_an_error_ends_the_work(step: str):
    finished: list[int] = []

    def fail(item: int, which: str) -> None:
        if item == 3 and which == step:
            raise OSError('the disk is full')

    def finish(item: int, made: None) -> None:
        fail(item, 'finish')
        finished.append(item)

    before, done = threading.active_count(), []
    with pytest.raises(OSError, match='the disk is full'):
        for item, _ in in_background(range(1000), lambda item: fail(item, 'make'), finish, no_bytes, threads=2):
            done.append(item)
    assert done == finished == [0, 1, 2] and threading.active_count() == before


@pytest.mark.parametrize('error', [KeyboardInterrupt, ValueError])
def test_what_was_made_before_an_error_of_the_loop_is_finished(error: type[BaseException]):
    finished: list[int] = []

    def items():
        yield from range(5)
        raise error

    with pytest.raises(error):
        list(in_background(items(), lambda item: time.sleep(0.01), lambda item, made: finished.append(item), no_bytes))
    assert finished == [0, 1, 2, 3, 4]
    finished.clear()
    with closing(
        in_background(range(100), lambda item: None, lambda item, made: finished.append(item), no_bytes)
    ) as done:
        next(done)
    assert finished == list(range(len(finished))) and 1 <= len(finished) <= 33


@pytest.fixture(scope='module')
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    path = write_shallow_checkpoint(tmp_path_factory.mktemp('weights') / 'seg.pth', 'seg')
    return Predictor(None, path, img_size=64, max_per_img=3, score_thr=0.05)


def test_a_folder_is_that_of_one_thread_to_the_last_byte(predictor: Predictor, tmp_path: Path):
    write_images(tmp_path / 'photos', 9)
    write_images(tmp_path / 'more', 3)
    (tmp_path / 'photos' / '4.png').write_bytes(b'no image')
    sources = [tmp_path / 'photos', tmp_path / 'more']
    outputs = FolderOutputs(save_txt=True, save_csv=True, save_crops=True)
    assert predict_to_folder(predictor, sources, tmp_path / 'out', outputs) == 11
    with ResultFolder(tmp_path / 'expected', outputs) as folder:
        for image, img, sample in predictor.stream_images(images_of(find_sources(sources))):
            folder.add(Result.of_sample(image, sample, predictor.model.info, predictor.options.score_thr), img)
    files = {path.relative_to(tmp_path / 'out') for path in (tmp_path / 'out').rglob('*')}
    assert len(files) > 40 and files == {
        path.relative_to(tmp_path / 'expected') for path in (tmp_path / 'expected').rglob('*')
    }
    for path in files:
        own, expected = tmp_path / 'out' / path, tmp_path / 'expected' / path
        assert own.is_dir() or own.read_bytes() == expected.read_bytes()


def test_a_picture_that_cannot_be_written_ends_the_prediction(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_images(tmp_path / 'photos', 60)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / '1.jpg').mkdir()  # where a picture belongs
    asked: list[str] = []
    read = Predictor.prepare
    monkeypatch.setattr(Predictor, 'prepare', lambda self, image, number: asked.append(1) or read(self, image, number))
    before = threading.active_count()
    with pytest.raises(OSError, match=r'1\.jpg'):
        predict_to_folder(predictor, tmp_path / 'photos', tmp_path / 'out')
    written = sorted(name for name in os.listdir(tmp_path / 'out') if name != '1.jpg')
    assert written == ['0.jpg'] and len(asked) < 50 and threading.active_count() == before


def test_drawing_in_threads_draws_the_same(predictor: Predictor, tmp_path: Path):
    """What the drawing keeps (letters, colours) is shared by the threads."""
    result = Result(
        img_path='a.png',
        img_shape=(80, 120),
        classes=tuple('abcdefgh'),
        labels=np.arange(8),
        scores=np.linspace(0.9, 0.2, 8).astype(np.float32),
        bboxes=np.array([[4 * i, 3 * i, 50 + 8 * i, 40 + 4 * i] for i in range(8)], np.float32),
    )
    img = np.zeros((80, 120, 3), np.uint8)
    expected = result.plot(img)
    found = in_background(range(50), lambda item: result.plot(img), lambda item, made: made, no_bytes, threads=4)
    assert all(np.array_equal(picture, expected) for _, picture in found)
