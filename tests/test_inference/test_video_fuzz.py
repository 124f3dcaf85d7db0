"""Damaged videos of all kinds: frames, and a sentence where some are missing."""

import pytest

pytest.importorskip('av')

from fuzz_strategies import AMOUNTS, damaged, run_fuzz
from hypothesis import strategies as st
from videos import write_video

from detkit.inference import Video

HEADER = 1500


@pytest.mark.parametrize('cases', AMOUNTS)
def test_videos(tmp_path, cases):
    path = tmp_path / 'x.mp4'
    formats = {'.mp4': 'libx264', '.mkv': 'libx264', '.avi': 'mpeg4', '.ts': 'libx264', '.mpg': 'mpeg2video'}
    files = [write_video(tmp_path / f'a{suffix}', 8, codec=codec).read_bytes() for suffix, codec in formats.items()]
    start = st.sampled_from(files)
    headers = st.builds(lambda head, data: head + data[HEADER:], damaged(start.map(lambda data: data[:HEADER])), start)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        frames = list(Video(path, max_pixels=1_000_000))
        assert [frame.frame for frame in frames] == list(range(len(frames)))
        assert all(frame.read().ndim == 3 for frame in frames if frame.error is None)
        assert all(frame.error is None for frame in frames[:-1]) and frames[-1].name == str(path)

    run_fuzz(cases, damaged(start) | headers, check)
