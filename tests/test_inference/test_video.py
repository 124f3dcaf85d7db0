import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('av')

from small_models import write_images, write_shallow_checkpoint
from videos import ORIENTATIONS, cut, draw_frame, overwrite, read_all, set_orientation, write_video

from detkit import Detector
from detkit.inference import Predictor, find_images, sources, video
from detkit.inference.sources import find_sources, images_of
from detkit.inference.video import Video, VideoFrame
from detkit.utils.errors import ConfigError, DataError, MissingPackageError


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_checkpoint(tmp_path_factory.mktemp('weights') / 'det.pth', 'det')


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / 'clip.mp4')


def bar_width(img: np.ndarray) -> int:
    """Return how wide the red bar of ``draw_frame`` is, which says the frame's number."""
    return int((img[..., 0].astype(int) - img[..., 1] > 60).mean(0).round().sum())


def close(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two images are the same but for what a codec changes."""
    return first.shape == second.shape and float(np.abs(first.astype(int) - second).mean()) < 4


def test_all_frames_come_in_order_with_their_times(clip):
    frames = list(Video(clip))
    assert all(isinstance(frame, VideoFrame) and frame.error is None for frame in frames)
    assert [frame.frame for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx([i / 25 for i in range(20)])
    assert all(close(frame.read(), draw_frame(frame.frame)) for frame in frames)
    info = Video(clip).info
    assert (info.shape, info.frame_rate, info.num_frames, info.duration, info.sound) == ((48, 64), 25, 20, 0.8, False)
    assert [frame.frame for frame in Video(clip)] == [frame.frame for frame in frames]  # a second loop opens it anew


def test_stride_start_and_stop_choose_frames(clip):
    assert [frame.frame for frame in Video(clip, stride=7)] == [0, 7, 14]
    some = list(Video(clip, start=0.4, stop=0.6))
    assert [frame.seconds for frame in some] == pytest.approx([0.4, 0.44, 0.48, 0.52, 0.56])
    assert [frame.frame for frame in some] == list(range(5))
    assert all(close(frame.read(), draw_frame(10 + i)) for i, frame in enumerate(some))
    with pytest.raises(DataError, match=r'has no frame that can be read after 9 seconds'):
        list(Video(clip, start=9))


@pytest.mark.parametrize('suffix', ['.mkv', '.avi', '.mov', '.ts', '.mpg'])
def test_other_containers(suffix, tmp_path):
    codec = {'.avi': 'mpeg4', '.mpg': 'mpeg2video'}.get(suffix, 'libx264')
    frames = list(Video(write_video(tmp_path / f'a{suffix}', codec=codec)))
    assert [frame.error for frame in frames] == [None] * 20
    steps = np.diff([frame.seconds for frame in frames])
    assert steps == pytest.approx(np.full(19, 0.04), abs=0.002)


@pytest.mark.parametrize(
    ('shape', 'codec', 'pix_fmt'),
    [
        ((47, 63), 'libx264', 'yuv444p'),
        ((48, 64), 'libx264', 'yuv420p10le'),
        ((48, 64), 'libx264', 'gray'),
        ((48, 64), 'png', 'rgba'),
        ((48, 64), 'ffv1', 'gray16le'),
        ((48, 64), 'mpeg4', 'yuv420p'),
    ],
)
def test_any_pixels_become_rgb(shape, codec, pix_fmt, tmp_path):
    suffix = '.mov' if codec == 'png' else '.mkv'
    path = write_video(tmp_path / f'a{suffix}', 5, shape, codec=codec, pix_fmt=pix_fmt)
    frames = list(Video(path))
    assert [frame.error for frame in frames] == [None] * 5
    for frame in frames:
        img = frame.read()
        assert img.shape == (*shape, 3) and img.dtype == np.uint8 and img.flags.c_contiguous
        expected = draw_frame(frame.frame, shape)
        if 'gray' in pix_fmt:
            expected = (expected @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None].repeat(3, 2)
        assert float(np.abs(img.astype(int) - expected).mean()) < 8


def test_interlaced_frames_are_whole(tmp_path):
    path = write_video(tmp_path / 'a.mp4', 10, options={'x264-params': 'interlaced=1'})
    assert [close(frame.read(), draw_frame(frame.frame)) for frame in Video(path)] == [True] * 10


@pytest.mark.parametrize('name', ORIENTATIONS)
def test_the_rotation_of_a_phone_is_applied(name, tmp_path):
    matrix, turned = ORIENTATIONS[name]
    path = write_video(tmp_path / 'phone.mp4', 3)
    set_orientation(path, matrix)
    frames = list(Video(path))
    assert Video(path).info.shape == turned(draw_frame(0)).shape[:2]
    assert all(close(frame.read(), turned(draw_frame(frame.frame))) for frame in frames)


def test_a_variable_frame_rate_keeps_its_times(tmp_path):
    times = [0, 0.01, 0.05, 0.5, 0.51, 1.7]
    frames = list(Video(write_video(tmp_path / 'a.mp4', len(times), times=times)))
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=1e-4)
    assert frames[-1].error is None


def test_times_begin_at_zero(tmp_path):
    times = [5.0, 5.1, 5.2]
    frames = list(Video(write_video(tmp_path / 'a.mkv', 3, times=times)))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2], abs=0.002)


def long_video(path: Path) -> Path:
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 255, (48, 64, 3)).astype(np.uint8) for _ in range(60))
    return write_video(path, noise, options={'g': '10'})


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
def test_a_damaged_video_gives_what_can_be_read_and_then_says_so(suffix, tmp_path):
    path = long_video(tmp_path / f'a{suffix}')
    overwrite(path, 0.5, 3000)
    *frames, end = Video(path)
    assert 30 < len(frames) < 60 and all(frame.error is None for frame in frames)
    assert 'is damaged' in end.error and f'{end.frame} of its frames were read' in end.error
    assert str(path) in end.error
    with pytest.raises(DataError, match='is damaged'):
        end.read()


@pytest.mark.parametrize('suffix', ['.mp4', '.mkv', '.avi'])
def test_a_video_that_was_not_copied_whole_is_never_silently_short(suffix, tmp_path):
    path = write_video(tmp_path / f'a{suffix}', 100, codec='mpeg4', options={'g': '10'})
    cut(path, 0.7)
    *frames, end = Video(path)
    assert 20 < len(frames) < 99 and all(close(f.read(), draw_frame(f.frame)) for f in frames)
    assert f'{len(frames)} of its frames were read' in end.error
    # Of the part before the damage there is nothing to say.
    assert all(frame.error is None for frame in Video(path, stop=0.5))


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('gone.mp4', None, 'No such file'),
        ('empty.mp4', b'', 'it is no video of a known format'),
        ('text.mp4', b'hello ' * 100, 'it is no video of a known format'),
        ('\udcff.mp4', None, 'cannot be opened as a video'),
    ],
)
def test_what_is_no_video_is_an_error(name, content, text, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=text):
        list(Video(tmp_path / name))


def test_a_video_whose_index_is_gone_is_an_error(clip):
    data = clip.read_bytes()
    clip.write_bytes(data.replace(b'moov', b'xxxx'))
    with pytest.raises(DataError, match='cannot be opened as a video|has no'):
        list(Video(clip))


def test_zero_frames_are_an_error(tmp_path):
    with pytest.raises(DataError, match='has no |it is empty'):
        list(Video(write_video(tmp_path / 'none.mkv', 0)))


def test_sound_alone_is_an_error(tmp_path):
    import av

    with av.open(str(tmp_path / 'a.mkv'), 'w') as container:
        stream = container.add_stream('aac', rate=16000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), 'fltp', 'mono')
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match='has no pictures, only sound'):
        list(Video(tmp_path / 'a.mkv'))


def test_huge_frames_are_refused_before_they_are_decoded(clip):
    with pytest.raises(DataError, match=r'frames of 64 x 48 pixels, more than the limit of 3000; .*DETKIT_MAX_PIXELS'):
        list(Video(clip, max_pixels=3000))


def test_a_header_that_claims_huge_frames_is_refused(tmp_path):
    path = write_video(tmp_path / 'a.mov', 2, codec='png', pix_fmt='rgb24')
    data = path.read_bytes()
    claimed = data.replace(b'IHDR' + struct.pack('>II', 64, 48), b'IHDR' + struct.pack('>II', 9000, 9000))
    assert claimed != data
    path.write_bytes(claimed)
    with pytest.raises(DataError, match=r'frames of 9000 x 9000 pixels|has no frame that can be read'):
        list(Video(path, max_pixels=50_000_000))


PLAYLISTS = {
    'm3u8': '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n',
    'concat': 'ffconcat version 1.0\nfile {target}\n',
    'sdp': 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=x {target}\n',
    'dash': '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
}


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('kind', PLAYLISTS)
def test_a_file_that_is_a_playlist_opens_nothing_else(kind, tmp_path, clip, server):
    for target in (clip.name, f'file://{clip}', f'{server.address}/clip.mp4'):
        path = tmp_path / 'innocent.mp4'
        path.write_text(PLAYLISTS[kind].format(target=target))
        with pytest.raises(DataError, match='it is no video of a known format'):
            list(Video(path))
    assert server.asked == []


def test_a_playlist_at_an_address_reads_no_file(tmp_path, clip, server):
    for name, target in (('a.m3u8', f'file://{clip}'), ('b.m3u8', 'concat:clip.mp4|clip.mp4'), ('c.mp4', 'clip.mp4')):
        (tmp_path / name).write_text(PLAYLISTS['m3u8'].format(target=target))
        with pytest.raises(DataError):
            list(Video(f'{server.address}/{name}'))
    assert not any('clip.mp4' in path for path in server.asked)


def test_the_name_of_a_file_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('concat:a.mp4', 'a%03d.mp4', 'pipe:0.mp4'):
        write_video(tmp_path / 'plain.mp4', 2).rename(tmp_path / name)
        assert len(list(Video(name))) == 2


class Server:
    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *_) -> None:
                """Print nothing."""

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, directory=str(folder)))
        self.address = f'http://127.0.0.1:{self.server.server_port}'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_addresses_of_videos_and_playlists_are_read(tmp_path, clip, server):
    frames = list(Video(f'{server.address}/clip.mp4'))
    assert [frame.frame for frame in frames] == list(range(20)) and frames[0].name.startswith('http://')
    write_video(tmp_path / 'part.ts')
    (tmp_path / 'list.m3u8').write_text(PLAYLISTS['m3u8'].format(target='part.ts'))
    frames = list(Video(f'{server.address}/list.m3u8'))
    assert len(frames) == 20 and frames[-1].error is None
    with pytest.raises(DataError, match='none.mp4 cannot be opened as a video: .*404'):
        list(Video(f'{server.address}/none.mp4'))


def stalling_server(data: bytes, answers: int) -> ThreadingHTTPServer:
    """Serve the same bytes to the first requests and nothing to others, without ending any answer."""
    left = list(range(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if left:
                left.pop()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(data)
                self.wfile.flush()
            release.wait(30)

        def log_message(self, *_) -> None:
            """Print nothing."""

    release = threading.Event()
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.release = release
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.thorough
def test_a_stream_that_stalls_is_opened_again_a_few_times_and_then_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video, '_WAIT', 0.01)
    monkeypatch.setattr(video, '_MOST_AHEAD', 1000)  # of a stream that is read too late frames are dropped
    data = write_video(tmp_path / 'a.ts', 50).read_bytes()
    server = stalling_server(data, 3)  # to see what it is, to read it, and once more
    try:
        address = f'http://127.0.0.1:{server.server_port}/a.ts'
        *frames, end = Video(address, timeout=1, reconnects=2)
    finally:
        server.release.set()
        server.shutdown()
    assert len(frames) > 60 and all(frame.error is None for frame in frames)
    assert np.all(np.diff([frame.seconds for frame in frames]) > 0)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith('it is opened again (1 of 2)') and printed[-1].endswith('it is opened again (2 of 2)')
    assert f'{address} brings no more frames; ' in printed[0]
    assert end.error == (
        f'{address} cannot be opened as a video: no video came in 1 s, also when it is opened again 2 times; '
        f'{len(frames)} of its frames were read'
    )


def test_a_video_at_an_address_goes_on_where_it_broke_off(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video, '_WAIT', 0.01)
    data = long_video(tmp_path / 'a.mp4').read_bytes()
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(None)
            self.send_response(200)
            self.send_header('Content-Length', str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if len(asked) == 2 else data)
            self.close_connection = True

        def log_message(self, *_) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        frames = list(Video(f'http://127.0.0.1:{server.server_port}/a.mp4', timeout=5))
    finally:
        server.shutdown()
    assert 'breaks off' in capsys.readouterr().out and len(asked) == 3
    assert [frame.frame for frame in frames] == list(range(60)) and frames[-1].error is None
    own, times = read_all(tmp_path / 'a.mp4')
    assert [frame.seconds for frame in frames] == pytest.approx(times)
    assert all(np.array_equal(frame.read(), img) for frame, img in zip(frames, own, strict=True))


def test_a_server_that_does_not_answer_is_an_error():
    with socket.create_server(('127.0.0.1', 0)) as waiting:
        for scheme in ('rtsp', 'http', 'tcp'):
            with pytest.raises(DataError, match=f'{scheme}://.*cannot be opened as a video: no video came in 0.3 s'):
                list(Video(f'{scheme}://127.0.0.1:{waiting.getsockname()[1]}/a.mp4', timeout=0.3))
        port = waiting.getsockname()[1]
    with pytest.raises(DataError, match='cannot be opened as a video: Connection refused'):
        list(Video(f'rtsp://127.0.0.1:{port}/camera'))


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='cameras have other names')
@pytest.mark.parametrize('camera', [87, '/dev/video87', '87'])
def test_a_camera_that_is_not_there_is_an_error(camera):
    (found,) = find_sources(camera)
    assert isinstance(found, Video) and found.scheme == 'camera' and found.is_live
    with pytest.raises(
        DataError, match=r'(camera 87|/dev/video87) cannot be opened as a video: .*is a camera connected'
    ):
        list(found)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ({'stride': 0}, 'stride of a video is 0'),
        ({'stride': 1.5}, 'stride of a video is 1.5'),
        ({'start': -1}, 'start of a video is -1'),
        ({'start': math.nan}, 'start of a video is nan'),
        ({'start': 3, 'stop': 2}, 'from 3 to 2 seconds has no frames'),
        ({'timeout': '1'}, 'timeout of a video'),
        ({'reconnects': True}, 'reconnects of a video'),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments, text, clip):
    with pytest.raises(ConfigError, match=text):
        Video(clip, **arguments)


def test_addresses_of_other_kinds_are_refused():
    for address in ('ftp://a/b.mp4', 'concat://a.mp4', 'subfile://a', 'data://a.mp4'):
        with pytest.raises(DataError, match='no address'):
            find_sources(address)
        with pytest.raises(DataError, match='no address'):
            Video(address)


def test_a_source_names_videos_beside_images(tmp_path, clip):
    write_images(tmp_path / 'photos', 2)
    clip.rename(tmp_path / 'photos' / '0a.MP4')
    found = find_sources(tmp_path / 'photos')
    assert [Path(source.name).name for source in found] == ['0.png', '0a.MP4', '1.png']
    assert [image.name for image in find_images(tmp_path / 'photos')] == [found[0].name, found[2].name]
    assert [Path(source.name).name for source in find_sources(str(tmp_path / 'photos' / '*.MP4'))] == ['0a.MP4']
    assert len(list(images_of(found))) == 22
    (tmp_path / 'videos').mkdir()
    write_video(tmp_path / 'videos' / 'a.mkv')
    assert [Path(source.name).name for source in find_sources(tmp_path / 'videos')] == ['a.mkv']
    with pytest.raises(DataError, match='is a video; single images are needed here'):
        find_images(found[1])


def test_one_broken_video_of_a_list_is_an_image_with_an_error(tmp_path, clip):
    (tmp_path / 'broken.mp4').write_bytes(b'no video')
    images = list(images_of(find_sources([tmp_path / 'broken.mp4', clip, tmp_path / 'gone.mp4'])))
    assert [image.error is None for image in images] == [False, *[True] * 20, False]


def test_a_detector_takes_a_video(checkpoint, clip):
    model = Detector(checkpoint)
    results = list(model(clip, stream=True, img_size=64, batch_size=3))
    assert [(result.frame, result.img_shape, result.img_path) for result in results] == [
        (i, (48, 64), str(clip)) for i in range(20)
    ]
    frames = [frame.read() for frame in Video(clip)]
    alone = model(frames, img_size=64, batch_size=3)
    assert sum(map(len, results)) > 0
    for first, second in zip(results, alone, strict=True):
        assert np.allclose(first.bboxes, second.bboxes, atol=1e-3)
    assert close(results[7].img, draw_frame(7)) and results[7].plot().shape == (48, 64, 3)
    assert results[7].to_dict()['frame'] == 7 and results[7].to_dict()['seconds'] == pytest.approx(7 / 25)
    assert 'frame 7 at 0.28 s' in repr(results[7])
    assert len(model(Video(clip, stride=5), img_size=64)) == 4


def test_results_of_a_damaged_video_end_with_an_error(checkpoint, tmp_path):
    path = long_video(tmp_path / 'a.mp4')
    overwrite(path, 0.5, 3000)
    results = Detector(checkpoint)(path, img_size=64)
    assert 'is damaged' in results[-1].error and len(results[-1]) == 0
    assert list(results.errors) == [str(path)]


def test_a_list_of_results_holds_no_long_video(checkpoint, clip, monkeypatch):
    monkeypatch.setattr(sources, 'MAX_KEPT_BYTES', 48 * 64 * 3 * 8)
    model = Detector(checkpoint)
    with pytest.raises(ConfigError, match='would hold 184 kB of frames in a list; give stream=True'):
        model(clip, img_size=64)
    assert len(model(Video(clip, stride=3), img_size=64)) == 7
    with pytest.raises(ConfigError, match='more than 73.7 kB of images'):
        model([Video(clip, stride=3), Video(clip, stride=3)], img_size=64)
    with pytest.raises(ConfigError, match='camera87 has no end, so there is no list of its results'):
        model(87)


def test_a_generator_that_is_left_early_ends_its_thread(checkpoint, tmp_path):
    path = write_video(tmp_path / 'a.mp4', 200)
    before = threading.active_count()
    for _ in range(3):
        results = Detector(checkpoint)(path, stream=True, img_size=64)
        assert next(results).frame == 0
        results.close()
        frames = iter(Video(path))
        next(frames)
        frames.close()
    assert threading.active_count() <= before


def test_frames_wait_for_their_use_in_small_number(tmp_path, monkeypatch):
    path = write_video(tmp_path / 'a.mp4', 200)
    decoded = []
    own = video.VideoFrame

    def counting(*arguments):
        decoded.append(None)
        return own(*arguments)

    monkeypatch.setattr(video, 'VideoFrame', counting)
    frames = iter(Video(path))
    for number in range(20):
        next(frames)
        time.sleep(0.005)
        assert len(decoded) <= number + 3 + video._MOST_AHEAD
    frames.close()


def test_two_threads_read_two_videos(tmp_path, checkpoint):
    paths = [write_video(tmp_path / f'{i}.mp4', 30, (48, 64 + 32 * i)) for i in range(2)]
    found: dict[Path, list] = {}
    threads = [threading.Thread(target=lambda path=path: found.update({path: list(Video(path))})) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in paths:
        own, times = read_all(path)
        assert [frame.seconds for frame in found[path]] == pytest.approx(times)
        assert all(np.array_equal(frame.read(), img) for frame, img in zip(found[path], own, strict=True))


def test_an_old_pyav_is_refused(clip, monkeypatch):
    import av

    monkeypatch.setattr(av, '__version__', '16.0.1')
    with pytest.raises(MissingPackageError, match='videos need av 17.1 or later, but 16.0.1 is installed'):
        list(Video(clip))


def test_a_predictor_takes_a_video(checkpoint, clip):
    samples = list(Predictor(None, checkpoint, img_size=64)(clip))
    assert len(samples) == 20 and {sample.ori_shape for sample in samples} == {(48, 64)}
