"""Videos with sound that is damaged, breaks off, or begins again: their pictures are all written."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip('av')

import av
from videos import cut, overwrite, write_video

from detkit.inference import Video
from detkit.inference.video_writer import VideoWriter


def copy(source: Path, target: Path) -> tuple[int, float]:
    """Write the frames of a video; return their number and the time of the last one."""
    video = Video(source)
    seconds = []
    with VideoWriter(target, video.info, str(source)) as writer:
        for frame in video:
            if frame.error is None:
                writer.write(frame.read(), frame.seconds)
                seconds.append(frame.seconds)
    return len(seconds), seconds[-1]


def sound_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(packet.dts * packet.time_base) for packet in container.demux(audio=0) if packet.size]


SUFFIXES = ('.mp4', '.mkv', '.ts', '.flv')


@pytest.fixture(scope='module')
def sources(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('sources')
    return {name: write_video(folder / f'a{name}', 100, sound=True, options={'g': '10'}) for name in SUFFIXES}


@pytest.mark.default_cases(6)
@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('place', [0.3, 0.5, 0.7])
@pytest.mark.parametrize('damage', ['overwritten', 'cut'])
def test_damaged_sound_does_not_end_a_video(suffix, place, damage, sources, tmp_path):
    source = Path(shutil.copy(sources[suffix], tmp_path))
    if damage == 'cut':
        cut(source, place)
    else:
        overwrite(source, place, 2000)
    written, _ = copy(source, tmp_path / 'b.mp4')
    assert written > 10 and len([frame for frame in Video(tmp_path / 'b.mp4') if frame.error is None]) == written
    times = sound_times(tmp_path / 'b.mp4')
    assert len(times) > 10 and times == sorted(set(times))


def test_a_recording_that_begins_again_goes_on(tmp_path):
    """Two transport streams in one file, as cameras write them: time stamps begin again at their start."""
    once = write_video(tmp_path / 'once.ts', 50, sound=True)
    (tmp_path / 'twice.ts').write_bytes(once.read_bytes() * 2)
    number, last = copy(tmp_path / 'twice.ts', tmp_path / 'b.mp4')
    assert number == 100 and last == pytest.approx(99 / 25, abs=0.1)
    times = sound_times(tmp_path / 'b.mp4')
    assert times == sorted(set(times)) and len(times) > 1.8 * len(sound_times(once)) and times[-1] > 3.5
