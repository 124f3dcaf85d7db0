"""Small videos for tests: drawn, rotated, damaged."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 90000  # time stamps a second


def draw_frame(number: int, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Draw a red bar at the left edge, as wide as the frame's number is high, on grey."""
    img = np.full((*shape, 3), 90, np.uint8)
    img[:, : 2 + number % (shape[1] // 2)] = (220, 40, 40)
    return img


def write_video(
    path: Path,
    frames: int | Iterable[np.ndarray] = 20,
    shape: tuple[int, int] = (48, 64),
    times: Sequence[float] | None = None,
    codec: str = 'libx264',
    pix_fmt: str = 'yuv420p',
    rate: int = 25,
    options: dict[str, str] | None = None,
    sound: bool = False,
) -> Path:
    """Write a video; ``times`` are the seconds of its frames."""
    images = (draw_frame(i, shape) for i in range(frames)) if isinstance(frames, int) else frames
    with av.open(str(path), 'w', options={'movflags': 'faststart'} if path.suffix == '.mp4' else {}) as container:
        stream = container.add_stream(codec, rate=rate, options={'crf': '4', **(options or {})})
        stream.height, stream.width = shape
        stream.pix_fmt = pix_fmt
        time_base = stream.codec_context.time_base = Fraction(1, rate if times is None else TICKS)
        audio = container.add_stream('aac', rate=16000, layout='mono') if sound else None
        container.start_encoding()
        count = 0
        for count, img in enumerate(images, 1):
            frame = av.VideoFrame.from_ndarray(img, 'rgb24')
            seconds = (count - 1) / rate if times is None else times[count - 1]
            frame.time_base, frame.pts = time_base, round(seconds / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            for start in range(0, 16000 * count // rate, 1024):
                wave = np.sin(np.arange(start, start + 1024) * 0.2, dtype=np.float32)[None] * 0.5
                part = av.AudioFrame.from_ndarray(wave, 'fltp', 'mono')
                part.sample_rate, part.pts, part.time_base = 16000, start, Fraction(1, 16000)
                container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path


# What [a b; c d] of the display matrix are for what phones write, and NumPy's words for the same.
ORIENTATIONS = {
    'upright': ((1, 0, 0, 1), lambda img: img),
    'clockwise': ((0, 1, -1, 0), lambda img: np.rot90(img, -1)),
    'half': ((-1, 0, 0, -1), lambda img: np.rot90(img, 2)),
    'counterclockwise': ((0, -1, 1, 0), lambda img: np.rot90(img)),
    'mirrored': ((-1, 0, 0, 1), lambda img: img[:, ::-1]),
}


def set_orientation(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Set the display matrix of the first track of an mp4 file, in place."""
    data = bytearray(path.read_bytes())
    one = 1 << 16
    place = data.index(struct.pack('>9i', one, 0, 0, 0, one, 0, 0, 0, 1 << 30), data.index(b'tkhd'))
    a, b, c, d = (value * one for value in matrix)
    data[place : place + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def overwrite(path: Path, start: float, size: int) -> None:
    """Fill bytes of a file with zeros, from a share of its length."""
    data = bytearray(path.read_bytes())
    place = int(len(data) * start)
    data[place : place + size] = bytes(len(data[place : place + size]))
    path.write_bytes(data)


def cut(path: Path, share: float) -> None:
    """Cut a file off after a share of its length."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def read_all(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """Read a video by PyAV alone: its frames as they are stored, and their times."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.to_ndarray(format='rgb24') for frame in frames], [frame.time for frame in frames]
