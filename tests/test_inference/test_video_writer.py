import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('av')

from small_models import write_images, write_shallow_checkpoint
from videos import ORIENTATIONS, draw_frame, overwrite, read_all, set_orientation, write_video

from detkit.cli.main import main
from detkit.inference import FolderOutputs, Predictor, Result, ResultFolder, Video
from detkit.inference.drawn_output import DrawnOutput
from detkit.inference.to_folder import predict_to_folder
from detkit.inference.track_to_folder import track_to_folder
from detkit.inference.video_reader import VideoInfo, VideoReader
from detkit.inference.video_writer import VideoWriter
from detkit.models.detectors import ModelInfo
from detkit.structures import DetDataSample
from detkit.utils.errors import ConfigError
from detkit.utils.files import SaveError

INFO = VideoInfo((48, 64), 25.0, Fraction(1, 12800), 20, 0.8, False, 0.0)


def test_of_two_writers_of_a_file_the_first_gets_an_error(tmp_path: Path):
    first, second = (VideoWriter(tmp_path / 'a.mp4', INFO) for _ in range(2))
    for number in range(3):
        first.write(draw_frame(number), number / 25)
    for number in range(5):
        second.write(draw_frame(number), number / 25)
    with pytest.raises(SaveError, match=r'a\.mp4 cannot be written: .*another process writes it at the same time'):
        first.finish()
    second.finish()
    assert len(list(Video(tmp_path / 'a.mp4'))) == 5 and [path.name for path in tmp_path.iterdir()] == ['a.mp4']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_checkpoint(tmp_path_factory.mktemp('weights') / 'det.pth', 'det')


def copy(source: Path, target: Path, **options) -> Path:
    """Write the frames of a video as they are."""
    video = Video(source, **options)
    with VideoWriter(target, video.info, str(source)) as writer:
        for frame in video:
            if frame.error is None:
                writer.write(frame.read(), frame.seconds)
    return target


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


@pytest.mark.parametrize('shape', [(48, 64), (47, 63), (47, 64), (2, 2)])
def test_sizes_and_colours_remain(shape, tmp_path):
    colours = [(200, 30, 40), (20, 180, 60), (30, 60, 220), (240, 240, 240), (5, 5, 5)]
    with VideoWriter(tmp_path / 'a.mp4', INFO) as writer:
        for i, colour in enumerate(colours):
            writer.write(np.full((*shape, 3), colour, np.uint8), i / 25)
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']
    frames = list(Video(tmp_path / 'a.mp4'))
    assert len(frames) == 5 and frames[0].read().shape == (*shape, 3)
    for frame, colour in zip(frames, colours, strict=True):
        assert np.abs(frame.read().reshape(-1, 3).mean(0) - colour).max() < 6


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.ts'])
def test_times_remain(suffix, tmp_path):
    times = [0, 0.01, 0.05, 0.5, 0.51, 1.7, 1.74]
    source = write_video(tmp_path / f'a{suffix}', len(times), times=times)
    made = copy(source, tmp_path / 'b.mp4')
    assert read_all(made)[1] == pytest.approx([frame.seconds for frame in Video(source)], abs=1e-6)
    assert [difference(f.read(), draw_frame(f.frame)) < 6 for f in Video(made)] == [True] * 7


@pytest.mark.parametrize('name', ORIENTATIONS)
def test_a_rotated_video_is_written_upright(name, tmp_path):
    matrix, turned = ORIENTATIONS[name]
    source = write_video(tmp_path / 'a.mp4', 3)
    set_orientation(source, matrix)
    images, _ = read_all(copy(source, tmp_path / 'b.mp4'))
    assert all(difference(img, turned(draw_frame(i))) < 6 for i, img in enumerate(images))


def test_sound_is_copied(tmp_path):
    import av

    source = write_video(tmp_path / 'a.mp4', 50, sound=True)
    assert Video(source).info.sound
    made = copy(source, tmp_path / 'b.mp4')
    own, copied = [], []
    for path, packets in ((source, own), (made, copied)):
        with av.open(str(path)) as container:
            packets += [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(audio=0) if p.size]
    assert len(copied) > 25 and len(own) - len(copied) < 3
    start = [data for _, data in own].index(copied[0][1])
    assert [data for _, data in copied] == [data for _, data in own[start : start + len(copied)]]
    assert [time for time, _ in copied] == pytest.approx([time for time, _ in own[start : start + len(copied)]])
    part = copy(source, tmp_path / 'c.mp4', start=1.0, stop=1.5)
    with av.open(str(part)) as container:
        times = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    assert 0 <= times[0] < 0.07 and 0.4 < times[-1] <= 0.5


def test_sound_that_does_not_fit_is_left_out_and_that_is_said(tmp_path, capsys):
    import av

    source = tmp_path / 'a.mkv'
    with av.open(str(source), 'w') as container:
        video, sound = container.add_stream('libx264', rate=25), container.add_stream('pcm_s16le', rate=16000)
        video.height, video.width, video.pix_fmt = 48, 64, 'yuv420p'
        frame = av.VideoFrame.from_ndarray(draw_frame(0), 'rgb24')
        container.mux(video.encode(frame))
        container.mux(video.encode())
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 1024 * sound.codec_context.channels), np.int16), 's16')
        wave.sample_rate = 16000
        container.mux(sound.encode(wave))
    made = copy(source, tmp_path / 'b.mp4')
    assert 'the sound' in capsys.readouterr().out and not Video(made).info.sound


def test_frames_of_another_size_are_scaled(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4', INFO) as writer:
        writer.write(draw_frame(0), 0.0)
        writer.write(draw_frame(1, (96, 128)), 0.04)
    assert [frame.read().shape for frame in Video(tmp_path / 'a.mp4')] == [(48, 64, 3)] * 2


def test_times_that_are_equal_are_moved_apart(tmp_path):
    with VideoWriter(tmp_path / 'a.mp4', INFO) as writer:
        for _ in range(3):
            writer.write(draw_frame(0), 1.0)
    assert len(read_all(tmp_path / 'a.mp4')[0]) == 3


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / 'a.mp4').write_text('old')
    with pytest.raises(KeyError), VideoWriter(tmp_path / 'a.mp4', INFO) as writer:
        writer.write(draw_frame(0), 0.0)
        raise KeyError
    assert (tmp_path / 'a.mp4').read_text() == 'old' and len(list(tmp_path.iterdir())) == 1
    with VideoWriter(tmp_path / 'b.mp4', INFO):
        pass
    assert not (tmp_path / 'b.mp4').exists()
    with pytest.raises(SaveError, match=r'none/a.mp4 cannot be written'):
        VideoWriter(tmp_path / 'none' / 'a.mp4', INFO).write(draw_frame(0), 0.0)


@pytest.mark.skipif(sys.platform == 'win32', reason='it kills a process')
def test_a_kill_leaves_no_broken_video_under_its_name(tmp_path):
    code = (
        'import sys, numpy as np\nfrom fractions import Fraction\nfrom detkit.inference.video_reader import VideoInfo\n'
        'from detkit.inference.video_writer import VideoWriter\n'
        'writer = VideoWriter(sys.argv[1], VideoInfo((48, 64), 25.0, Fraction(1, 25), None, None, False, 0.0))\n'
        'rng = np.random.default_rng(0)\nnumber = 0\n'
        'while True:\n'
        '    writer.write(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8), number / 25)\n    number += 1\n'
        '    print(number, flush=True) if number == 100 else None\n'
    )
    process = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'a.mp4')], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'100\n'
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'a.mp4').exists()


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='it limits the size of files')
def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(tmp_path):
    code = (
        'import resource, signal, sys, numpy as np\nfrom fractions import Fraction\n'
        'from detkit.inference.video_reader import VideoInfo\nfrom detkit.inference.video_writer import VideoWriter\n'
        'from detkit.utils.files import SaveError\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n'
        'rng = np.random.default_rng(0)\n'
        'try:\n'
        '    info = VideoInfo((240, 320), 25.0, Fraction(1, 25), None, None, False, 0.0)\n'
        '    with VideoWriter(sys.argv[1], info) as w:\n'
        '        for i in range(200):\n'
        '            w.write(rng.integers(0, 255, (240, 320, 3)).astype(np.uint8), i / 25)\n'
        'except SaveError as error:\n    print(error)\n'
    )
    done = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'a.mp4')], capture_output=True, text=True)
    assert 'a.mp4 cannot be written: ' in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_predict_writes_pictures_and_videos(checkpoint, tmp_path, capsys):
    write_images(tmp_path / 'in', 1)
    times = [0, 0.01, 0.05, 0.5, 0.51]
    write_video(tmp_path / 'in' / '0.mp4', 5, times=times)
    write_video(tmp_path / 'in' / 'deep.mov', 4)
    (tmp_path / 'in' / 'broken.mp4').write_bytes(b'x')
    out = tmp_path / 'out'
    arguments = ['predict', '-', str(checkpoint), str(tmp_path / 'in'), '--out-dir', str(out), '--img-size', '64']
    assert main(arguments) == 0
    assert sorted(path.name for path in out.iterdir()) == ['0.jpg', '0.mp4', 'deep.mp4', 'predictions.json']
    assert read_all(out / '0.mp4')[1] == pytest.approx(times, abs=1e-6)
    printed = capsys.readouterr().out
    assert 'skipped: ' in printed and 'broken.mp4 cannot be opened as a video' in printed
    assert '10 images, 1 could not be read' in printed and 'frame 0 at 0.00 s: ' in printed
    entries = (out / 'predictions.json').read_text()
    assert '"frame": 3' in entries.replace('"frame":3', '"frame": 3')
    assert main([*arguments[:3], str(tmp_path / 'in' / 'deep.mov'), *arguments[4:]]) == 0
    assert '4 frames, ' in capsys.readouterr().out


def test_files_of_frames_lie_in_a_folder_of_the_video(checkpoint, tmp_path):
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / 'a.mp4', 3)
    outputs = FolderOutputs(save_txt=True, save_csv=True, save_crops=True)
    predictor = Predictor(None, checkpoint, img_size=64, max_per_img=2, tile=32, tta=['plain', 'hflip'])
    assert predict_to_folder(predictor, [tmp_path / 'one', tmp_path / 'two'], tmp_path / 'out', outputs) == 6
    labels = sorted(str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out' / 'labels').rglob('*.txt'))
    assert labels == [f'labels/{name}/{frame:06d}.txt' for name in ('a-2', 'a') for frame in range(3)]
    assert {path.name for path in (tmp_path / 'out').glob('*.mp4')} == {'a.mp4', 'a-2.mp4'}
    rows = (tmp_path / 'out' / 'predictions.csv').read_text().splitlines()
    assert rows[0].startswith('img_path,frame,seconds,label') and len(rows) > 6
    assert len(list((tmp_path / 'out' / 'crops').rglob('*.jpg'))) == len(rows) - 1


def test_videos_are_not_written_over(checkpoint, tmp_path):
    clip = write_video(tmp_path / 'a.mp4', 3)
    before, predictor = clip.read_bytes(), Predictor(None, checkpoint, img_size=64)
    with pytest.raises(ConfigError, match=r'a\.mp4 lies in the folder for the results'):
        predict_to_folder(predictor, clip, tmp_path)
    with pytest.raises(ConfigError, match='written over the file that it shows'), DrawnOutput(tmp_path) as drawn:
        drawn.write(next(iter(Video(clip))), np.zeros((48, 64, 3), np.uint8), 'a')
    assert clip.read_bytes() == before
    pytest.importorskip('trackers')
    with pytest.raises(ConfigError, match=r'a\.mp4 lies in the folder for the results'):
        track_to_folder(predictor, clip, tmp_path)
    assert clip.read_bytes() == before
    assert track_to_folder(predictor, clip, tmp_path, pictures=False) == 3


def test_predict_draws_what_can_be_read_of_a_damaged_video(checkpoint, tmp_path, capsys):
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 255, (48, 64, 3)).astype(np.uint8) for _ in range(60))
    overwrite(write_video(tmp_path / 'a.mp4', noise, options={'g': '10'}), 0.5, 3000)
    predict_to_folder(Predictor(None, checkpoint, img_size=64), tmp_path / 'a.mp4', tmp_path / 'out')
    assert 'a.mp4 is damaged' in capsys.readouterr().out
    assert 30 < len(read_all(tmp_path / 'out' / 'a.mp4')[0]) < 60


def test_an_interrupt_ends_the_video_of_a_camera_but_leaves_that_of_a_file_out(tmp_path):
    frames = list(Video(write_video(tmp_path / 'a.mp4', 5)))
    live = VideoInfo(**{**vars(frames[0].info), 'duration': None})
    for name, info in (('file', frames[0].info), ('camera', live)):
        with pytest.raises(KeyboardInterrupt), DrawnOutput(tmp_path) as drawn:
            for frame in frames:
                own = type(frame)(name, frame.content, None, frame.frame, frame.seconds, info)
                drawn.write(own, frame.read(), name)
            raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.mp4', 'camera.mp4']
    assert len(read_all(tmp_path / 'camera.mp4')[0]) == 5


def test_an_interrupt_ends_the_tables_of_a_camera_but_leaves_those_of_a_file_out(tmp_path):
    outputs = FolderOutputs(pictures=False, save_json=True, save_csv=True)
    frame = next(iter(Video(write_video(tmp_path / 'a.mp4', 5))))
    sample = DetDataSample(metainfo=dict(ori_shape=(48, 64)))
    bboxes = torch.tensor([[1.0, 2, 30, 40]])
    sample.pred_instances = InstanceData(bboxes=bboxes, scores=torch.tensor([0.5]), labels=torch.tensor([0]))
    for name, duration in (('file', 0.2), ('camera', None)):
        info = VideoInfo(**{**vars(frame.info), 'duration': duration})
        own = type(frame)(name, frame.content, None, frame.frame, frame.seconds, info)
        with pytest.raises(KeyboardInterrupt), ResultFolder(tmp_path / name, outputs) as folder:
            folder.add(Result.of_sample(own, sample, ModelInfo({}, ('a', 'b'))))
            raise KeyboardInterrupt
    assert not list((tmp_path / 'file').iterdir())
    assert len((tmp_path / 'camera' / 'predictions.csv').read_text().splitlines()) == 2
    assert len(json.loads((tmp_path / 'camera' / 'predictions.json').read_text())) == 1


def test_the_process_holds_no_file_afterwards(tmp_path):
    if not os.path.isdir('/proc/self/fd'):
        pytest.skip('open files are read from /proc')
    source = write_video(tmp_path / 'a.mp4', 20, sound=True)
    before = len(os.listdir('/proc/self/fd'))
    copy(source, tmp_path / 'b.mp4')
    time.sleep(0.05)
    assert len(os.listdir('/proc/self/fd')) <= before


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='processes are not forked here')
def test_a_process_forks_while_a_thread_holds_frames_that_were_converted(tmp_path: Path):
    """A child frees what threads of its parent held, and must not wait for threads that it does not have."""
    held = threading.local()

    def convert() -> None:
        path = write_video(tmp_path / 'clip.mp4', 2, (480, 640))
        held.reader = VideoReader(str(path), '', 0.0, 5.0, 1 << 20)
        held.frames = list(held.reader.frames())
        for _, read in held.frames:
            read()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(convert).result()
        child = multiprocessing.get_context('fork').Process(target=int)
        child.start()
        child.join(20)
        hung = child.is_alive()
        child.kill()
        child.join()
    assert not hung and child.exitcode == 0
