"""``Video``: the frames of a video file, a camera or a stream."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from detkit.inference.read_ahead import read_ahead
from detkit.inference.source_image import ADDRESS, SourceImage
from detkit.inference.video_reader import PROTOCOLS, VideoInfo, VideoReader
from detkit.utils.addresses import without_password
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.limits import MAX_PIXELS
from detkit.utils.printable import printable

VIDEO_SUFFIXES = tuple(
    f'.{suffix}' for suffix in '3gp avi flv m2ts m4v mjpeg mjpg mkv mov mp4 mpeg mpg mts ogv ts webm wmv'.split()
)
_BYTES_AHEAD = 256_000_000  # of frames that wait
_LEAST_AHEAD, _MOST_AHEAD, _LIVE_AHEAD = 2, 16, 2
_WAIT = 1.0  # seconds before a stream is opened again


@dataclass(frozen=True, eq=False)
class VideoFrame(SourceImage):
    """A frame of a video.

    Attributes:
        frame: its number, from 0, in which frames that are left out count.
        seconds: its time since the beginning of the video, which grows from frame to frame.
        info: the video's properties.
    """

    frame: int = 0
    seconds: float = 0.0
    info: VideoInfo | None = None


@dataclass(frozen=True)
class Video:
    """A video to predict on. Each loop over it opens it anew, and yields its frames in order as ``VideoFrame``.

    Frames are upright by the rotation that a phone notes, RGB whatever the video's pixels are, and have the time that
    the video states for each. A damaged video yields the frames that can be decoded, and then one more with an
    ``error``. A camera or a stream that brings frames faster than they are used loses the oldest ones that wait.

    Args:
        source: a file; a camera by its number or device; an address, which begins with ``http://``, ``https://``,
            ``rtsp://``, ``rtmp://``, ``tcp://`` or ``udp://``.
        stride: use one frame of so many.
        start: seconds of the video that are left out; frames are counted from there.
        stop: the time of the video, in seconds, at which it ends.
        timeout: seconds that a camera or a stream may bring nothing.
        reconnects: how often in a row a stream that brings nothing or breaks off is opened again.
        max_pixels: a video with larger frames is refused before they are decoded.

    Raises:
        ConfigError: an argument has a value that makes no sense.
        DataError: when it is opened: it is missing, has no frames, or is none.
        MissingPackageError: when it is opened: PyAV is not installed.
    """

    source: str | os.PathLike | int = field(repr=False)
    stride: int = 1
    start: float = 0.0
    stop: float = math.inf
    timeout: float = 10.0
    reconnects: int = 3
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for name, least in (('stride', 1), ('reconnects', 0), ('max_pixels', 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f'{name} of a video is {value!r}, but must be a whole number of at least {least}')
        for name in ('start', 'stop', 'timeout'):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ConfigError(f'{name} of a video is {value!r}, but must be seconds, at least 0')
        if self.start >= self.stop:
            raise ConfigError(f'a video from {self.start:g} to {self.stop:g} seconds has no frames; stop after start')
        if self.scheme not in ('', 'camera', *PROTOCOLS):
            raise DataError(
                f"'{self.name}' is no address that videos are read from; those begin with "
                f'{", ".join(f"{scheme}://" for scheme in PROTOCOLS)}'
            )

    @property
    def name(self) -> str:
        """Its path, or its address without a password; 'camera0' for a camera by its number."""
        return f'camera{self.source}' if isinstance(self.source, int) else without_password(os.fspath(self.source))

    @property
    def scheme(self) -> str:
        """The kind of its address; 'camera' for a camera of this machine, '' for a file."""
        if isinstance(self.source, int) or self.name.startswith('/dev/video'):
            return 'camera'
        found = ADDRESS.match(self.name)
        return found[1].lower() if found else ''

    @property
    def is_live(self) -> bool:
        """Whether it has no known end: a camera or a stream."""
        return self.scheme not in ('', 'http', 'https') or (self.scheme != '' and self.info.duration is None)

    @property
    def num_bytes(self) -> int | None:
        """About how much memory all of its frames take; None where their number is unknown."""
        info = self.info
        if info.num_frames is None:
            return None
        share = 1.0
        if info.duration:
            share = max(min(self.stop, info.duration) - self.start, 0.0) / info.duration
        return round(3 * math.prod(info.shape) * info.num_frames * share / self.stride)

    @cached_property
    def info(self) -> VideoInfo:
        """Its properties, for which it is opened once.

        Raises:
            DataError, MissingPackageError: see ``Video``.
        """
        with self._open(0.0) as reader:
            return reader.info

    def __iter__(self) -> Iterator[VideoFrame]:
        if self.scheme in ('', 'http', 'https'):
            height, width = self.info.shape
            depth = min(max(_BYTES_AHEAD // (3 * height * width), _LEAST_AHEAD), _MOST_AHEAD)
        else:
            depth = _LIVE_AHEAD
        return read_ahead(self._frames(), depth, drop_late=self.is_live)

    def _open(self, start: float) -> VideoReader:
        name = self.source if isinstance(self.source, int) else os.fspath(self.source)
        return VideoReader(name, self.scheme, start, self.timeout, self.max_pixels)

    def _frames(self) -> Generator[VideoFrame, None, None]:
        """Yield the frames; open an address that breaks off again, and go on after its last frame."""
        count, last, failures = 0, -1.0, 0
        start, shift, began = self.start, 0.0, time.monotonic()
        while True:
            try:
                with self._open(start) as reader:
                    for seconds, read in reader.frames():
                        seconds += shift
                        if seconds >= self.stop:
                            return
                        if seconds <= last:
                            continue  # it was there before the stream broke off
                        if count % self.stride == 0:
                            yield VideoFrame(self.name, read(), None, count, seconds, reader.info)
                        count, last, failures = count + 1, seconds, 0
                problem = reader.problem
            except DataError as error:
                if not count:
                    raise
                problem = str(error).removeprefix(f'{self.name} ')
            if problem is None:
                return
            if self.scheme in ('', 'camera') or failures == self.reconnects:
                again = f', also when it is opened again {failures} times' if failures else ''
                text = f'{self.name} {problem}{again}; {count} of its frames were read'
                yield VideoFrame(self.name, None, text, count, max(last, 0.0))
                return
            failures += 1
            print(printable(f'{self.name} {problem}; it is opened again ({failures} of {self.reconnects})'))
            time.sleep(_WAIT)
            if self.is_live:
                shift = time.monotonic() - began
            else:
                start = max(last, start)


def with_options(
    sources: Sequence[SourceImage | Video], stride: int, start: float, stop: float
) -> list[SourceImage | Video]:
    """Return sources with options of ``Video`` set in each video.

    Raises:
        ConfigError: options are given, and all sources are images, which have no such.
    """
    chosen = (stride, start, stop) != (1, 0.0, float('inf'))
    if chosen and not any(isinstance(source, Video) or source.error for source in sources):
        raise ConfigError(
            'a stride, a start and a stop choose frames of videos, but the sources are images; '
            'leave --frame-stride, --start and --stop out'
        )
    return [
        replace(source, stride=stride, start=start, stop=stop) if isinstance(source, Video) else source
        for source in sources
    ]
