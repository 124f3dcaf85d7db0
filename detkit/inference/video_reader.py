"""One opening of a video by PyAV: its frames with their times, and what is wrong with it at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

import numpy as np

from detkit.utils.addresses import without_password
from detkit.utils.errors import DataError, MissingPackageError
from detkit.utils.limits import PIXELS_VARIABLE

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.video.frame import VideoFrame as DecodedFrame
    from av.video.stream import VideoStream

# Only these demuxers are used: none of them opens another file or address because the first one says so.
_FORMATS = 'mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg,h264,hevc,m4v,mjpeg,mpjpeg,mpeg4'
_WEB = 'http,https,tcp,tls'
# The protocols that each kind of address may use.
PROTOCOLS = {
    'http': _WEB,
    'https': _WEB,
    'rtsp': 'rtsp,rtp,rtcp,udp,tcp',
    'rtsps': 'rtsps,rtsp,rtp,rtcp,udp,tcp,tls',
    'rtmp': 'rtmp,tcp',
    'tcp': 'tcp',
    'udp': 'udp',
}
# The devices of cameras by their number, on each system.
_CAMERAS = {'linux': ('v4l2', '/dev/video{}'), 'darwin': ('avfoundation', '{}:none')}
_THREADS = 4
_LEAST_AV = (17, 1)  # older ones end the process at MPEG program streams
_USUAL_RATE = 30.0
_LEAST_JUMP = 0.5  # seconds back at which a video begins again, as in recordings that were joined


@dataclass(frozen=True)
class VideoInfo:
    """The properties of a video, as its header and its first frame state them.

    Attributes:
        shape: (h, w) of its frames, upright.
        frame_rate: frames a second, on average; 30 where it is unknown.
        time_base: seconds that its time stamps are whole multiples of.
        num_frames: their number, or about that; None where it is unknown or there is no end.
        duration: in seconds; None where it is unknown or there is no end.
        sound: whether it has some.
        origin: seconds of the first time stamp.
    """

    shape: tuple[int, int]
    frame_rate: float
    time_base: Fraction
    num_frames: int | None
    duration: float | None
    sound: bool
    origin: float


class VideoReader:
    """A video that is open; a context manager, which closes it.

    Args:
        name: its file or address, or the device or number of a camera.
        scheme: of an address, such as 'rtsp'; '' for a file, 'camera' for a camera.
        start: seconds of the video to leave out.
        timeout: seconds that a camera or an address may bring nothing.
        max_pixels: larger frames are refused before they are decoded.

    Attributes:
        info: its properties.
        problem: what is wrong with it, once the frames have ended too early: the rest of a sentence; else None.

    Raises:
        DataError: it is missing, has no frames, or is no video.
        MissingPackageError: PyAV is not installed.
    """

    def __init__(self, name: str | int, scheme: str, start: float, timeout: float, max_pixels: int) -> None:
        self._av = import_av()
        self._name = without_password(name) if isinstance(name, str) else name
        self._start, self._max_pixels = start, max_pixels
        self.problem: str | None = None
        self._container = open_container(name, scheme, timeout)
        try:
            self._stream = self._video_stream()
            self._origin = self._start_time()
            self._damaged, self._count, self._last = 0, 0, -1.0
            if start:
                self._seek(start)
            self._decoded = self._decode()
            first = next(self._decoded, None)
            if first is None:
                after = f' after {start:g} seconds' if start else ''
                problem = self._because()
                because = f'; it {problem}' if problem else ''
                raise DataError(f'{self._name} has no frame that can be read{after}{because}')
            self._first = first
            self._orientation = _orientation_of(first[1])
            self.info = self._read_info()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._container.close()

    def frames(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """Yield the time of each frame in seconds, and a function that returns it, ``(H, W, 3)`` uint8 RGB."""
        seconds, frame = self._first
        del self._first
        yield seconds, partial(self._as_array, frame)
        for seconds, frame in self._decoded:
            yield seconds, partial(self._as_array, frame)
        if self.problem is None:
            self.problem = self._because() or self._shortage()

    def _video_stream(self) -> VideoStream:
        attached = self._av.stream.Disposition.attached_pic  # the cover of a song
        streams = [stream for stream in self._container.streams.video if attached not in stream.disposition]
        if not streams:
            raise DataError(f'{self._name} has no pictures{", only sound" if self._container.streams.audio else ""}')
        stream = streams[0]
        if stream.codec_context is None:
            raise DataError(f'{self._name} has pictures of a kind that cannot be decoded')
        self._check_size(stream.width, stream.height)
        stream.codec_context.options = {'max_pixels': str(self._max_pixels)}
        stream.codec_context.thread_count = _THREADS
        stream.thread_type = 'AUTO'
        return stream

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise DataError(
                f'{self._name} has frames of {width} x {height} pixels, more than the limit of {self._max_pixels}; the '
                f'environment variable {PIXELS_VARIABLE} raises it'
            )

    def _read_info(self) -> VideoInfo:
        stream, frame = self._stream, self._first[1]
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        duration = self._duration()
        rate = rate if 0 < rate <= 1000 else _USUAL_RATE
        num_frames = stream.frames or (None if duration is None else round(duration * rate))
        shape = (frame.height, frame.width)
        return VideoInfo(
            shape=shape[::-1] if self._orientation[0] else shape,
            frame_rate=rate,
            time_base=Fraction(stream.time_base or Fraction(1, 90000)),
            num_frames=num_frames,
            duration=duration,
            sound=bool(self._container.streams.audio),
            origin=float(self._origin),
        )

    def _duration(self) -> float | None:
        """Return the seconds of pictures that the header states."""
        stream, container = self._stream, self._container
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        tag = stream.metadata.get('DURATION', '')  # Matroska's: 00:00:01.200000000
        parts = tag.split(':')
        if len(parts) == 3 and all(part.replace('.', '', 1).isdecimal() for part in parts):
            return float(parts[0]) * 3600 + float(parts[1]) * 60 + float(parts[2])
        return None if not container.duration or container.duration < 0 else container.duration / self._av.time_base

    def _start_time(self) -> Fraction:
        """Return the seconds that the first frame's time stamp states."""
        stream, container = self._stream, self._container
        if stream.start_time is not None and stream.time_base is not None:
            return Fraction(stream.start_time * stream.time_base)
        return Fraction(container.start_time or 0, self._av.time_base)

    def _seek(self, start: float) -> None:
        base = self._stream.time_base
        if base is None:
            return  # frames before it are decoded and left out
        try:
            self._container.seek(int((start + self._origin) / base), stream=self._stream)
        except self._av.FFmpegError:  # a pipe or a camera cannot
            return

    def _packets(self) -> Iterator[Packet]:
        try:
            yield from self._container.demux(self._stream)
        except self._av.ExitError:
            self.problem = 'brings no more frames'
        except self._av.FFmpegError as error:
            self.problem = f'breaks off ({error.strerror or error})'

    def _decode(self) -> Iterator[tuple[float, DecodedFrame]]:
        """Yield what can be decoded with its time, which grows; count what cannot."""
        stream, errors = self._stream, (self._av.FFmpegError, ValueError)
        for packet in self._packets():
            try:
                frames = packet.decode()
            except errors:
                self._damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._damaged += 1
                    continue
                self._check_size(frame.width, frame.height)
                step = float(stream.time_base or Fraction(1, 90000))
                seconds = self._last + 1 / float(stream.average_rate or _USUAL_RATE)
                if frame.pts is not None and frame.time_base is not None:
                    if not self._count and not self._start:
                        self._origin = frame.pts * frame.time_base  # Matroska's header does not state it
                    stated = float(frame.pts * frame.time_base - self._origin)
                    if self._count and stated < self._last - _LEAST_JUMP:
                        self._origin -= Fraction(seconds - stated)
                        stated = seconds
                    seconds = stated
                seconds = max(seconds, self._last + step, 0.0)
                self._count, self._last = self._count + 1, seconds
                if seconds + step / 2 >= self._start:
                    yield seconds, frame

    def _as_array(self, frame: DecodedFrame) -> np.ndarray:
        transposed, flip_rows, flip_columns = self._orientation
        try:
            img = frame.to_ndarray(format='rgb24', threads=1)  # see VideoWriter.write
        except (self._av.FFmpegError, ValueError) as error:
            raise DataError(f'{self._name} has pixels of a kind that cannot be converted ({error})') from error
        if transposed:
            img = img.transpose(1, 0, 2)
        img = img[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
        return np.ascontiguousarray(img)

    def _because(self) -> str | None:
        if self.problem is not None:
            return self.problem
        if not self._damaged:
            return None
        return f'is damaged: {self._damaged} of its parts cannot be decoded'

    def _shortage(self) -> str | None:
        """Return what is missing at the end, by the number of frames and the duration that the header states."""
        info, known = self.info, self._stream.frames
        if info.duration is None or (known and not self._start and self._count >= known):
            return None
        tolerance = 1.5 / info.frame_rate if known else max(1.5 / info.frame_rate, 0.5)
        end = self._last + 1 / info.frame_rate + max(float(self._origin), 0.0)  # Matroska counts from time stamp 0
        if info.duration - end < tolerance:
            return None
        return f'ends after {end:.2f} of {info.duration:.2f} seconds: it is damaged, or was not copied whole'


def open_container(name: str | int, scheme: str = '', timeout: float | None = None) -> InputContainer:
    """Open a video by the demuxers and protocols that it may use; arguments and errors as of ``VideoReader``."""
    av = import_av()
    file, form, formats, protocols = f'file:{name}', None, _FORMATS, 'file'
    options: dict[str, str] = {}
    if scheme == 'camera':
        form, device = _CAMERAS.get(sys.platform, (None, ''))
        if form is None and isinstance(name, int):
            raise DataError(f'cameras have no numbers on {sys.platform}; give the address of a stream')
        file = device.format(name) if isinstance(name, int) else name
        formats = 'video4linux2,v4l2,avfoundation'
    elif scheme:
        file, protocols = name, PROTOCOLS[scheme]
        if scheme.startswith('rtsp'):
            options['rtsp_transport'], formats = 'tcp', f'{_FORMATS},rtsp'
        elif name.partition('?')[0].lower().endswith('.m3u8'):  # it names more addresses, but no files
            formats = f'{_FORMATS},hls,aac,mp3,webvtt'
    options |= {'format_whitelist': formats, 'protocol_whitelist': protocols}
    title = f'camera {name}' if isinstance(name, int) else without_password(name)
    began = time.monotonic()
    try:
        return av.open(file, 'r', form, options, timeout=(timeout, timeout) if scheme else None)
    except UnicodeError as error:
        raise DataError(f'{title} cannot be opened as a video: its name is no text ({error})') from error
    except av.FFmpegError as error:
        reason = error.strerror or str(error)
        if timeout and time.monotonic() - began >= timeout:  # FFmpeg has several words for it
            reason = f'no video came in {timeout:g} s'
        elif isinstance(error, av.EOFError):
            reason = 'it is empty'
        elif not scheme and isinstance(error, av.InvalidDataError | av.ArgumentError):
            reason = 'it is no video of a known format, or its beginning or its index, which may be at its end, is gone'
        hint = '; is a camera connected, and may this user read it?' if scheme == 'camera' else ''
        raise DataError(f'{title} cannot be opened as a video: {reason}{hint}') from error


def import_av() -> ModuleType:
    """Return the package PyAV.

    Raises:
        MissingPackageError: it is not installed, or too old.
    """
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            f"videos need the package av ({error}); install it by pip install 'detkit[video]'"
        ) from error
    if tuple(int(part) for part in av.__version__.split('.')[:2]) < _LEAST_AV:
        raise MissingPackageError(
            f'videos need av {".".join(map(str, _LEAST_AV))} or later, but {av.__version__} is installed, which '
            f"crashes on some files; bring it up to date by pip install --upgrade 'detkit[video]'"
        )
    return av


def _orientation_of(frame: DecodedFrame) -> tuple[bool, bool, bool]:
    """Return how a frame becomes upright: whether it is transposed, and its rows and its columns are then reversed.

    A display matrix ``[a b u; c d v; x y w]`` takes the pixel (x, y) to (a x + c y, b x + d y).
    """
    matrix = frame.side_data.get('DISPLAYMATRIX')
    if matrix is None or matrix.buffer_size < 36:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32, 5).tolist()
    if abs(b) > abs(a):
        return True, b < 0, c < 0
    return False, d < 0, a < 0
