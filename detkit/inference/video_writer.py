"""``VideoWriter``: pictures to a video file, with the times and the sound of the video that they are drawn on."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detkit.inference.video_reader import VideoInfo, import_av, open_container
from detkit.utils.errors import DataError
from detkit.utils.files import SaveError, check_own, remove_own
from detkit.utils.printable import printable

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer

# Sound that an mp4 file may hold as it is.
_SOUND_CODECS = ('aac', 'mp3', 'ac3', 'eac3', 'opus', 'alac', 'flac')
_FINEST = 1_000_000  # parts of a second that the players of mp4 files accept
_FINEST_MPEG4 = 60_000
_LEAST_JUMP = 0.5  # seconds back at which sound begins again, as in recordings that were joined


class VideoWriter:
    """An mp4 file that takes its place when all frames are in it; a context manager.

    Frames keep their times, of which the first becomes 0, so that a variable frame rate remains. The codec is H.264
    where PyAV has its encoder, else MPEG-4. Sides of an odd number of pixels remain, too; browsers do not show them.

    Args:
        path: the file; its folder exists. An error leaves what was there.
        info: the video that the pictures are drawn on.
        sound_of: the video file whose sound is copied; None for none.

    Raises:
        SaveError: the file cannot be written.
        MissingPackageError: PyAV is not installed.
    """

    def __init__(self, path: str | Path, info: VideoInfo, sound_of: str | None = None) -> None:
        self._av = import_av()
        self._path, self._info, self._sound_of = Path(path), info, sound_of
        self._temporary = self._path.with_name(f'.{self._path.name}.tmp')
        self._container: OutputContainer | None = None
        self._own: os.stat_result | None = None
        self._first, self._last = 0.0, -1
        self._sound: _Sound | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()

    def write(self, img: np.ndarray, seconds: float) -> None:
        """Add a picture ``(H, W, 3)`` uint8 RGB; one of another size than the first is scaled to that."""
        try:
            if self._container is None:
                self._first = seconds
                self._open(img.shape[:2])
            height, width = self._stream.height, self._stream.width
            if img.shape[:2] != (height, width):
                img = cv2.resize(img, (width, height), interpolation=cv2.INTER_AREA)
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(img), 'rgb24')
            # In one thread: a process that is forked while others wait, as a loader's worker is, would wait for them.
            frame = frame.reformat(
                format=self._stream.pix_fmt, dst_colorspace='ITU709', dst_color_range='MPEG', threads=1
            )
            self._last = max(round((seconds - self._first) / self._time_base), self._last + 1)
            frame.pts, frame.time_base = self._last, self._time_base
            self._mux(self._stream.encode(frame))
            self._mux_sound(seconds)
        except (self._av.FFmpegError, OSError) as error:
            raise SaveError(f'{self._path} cannot be written: {error}') from error

    def finish(self) -> None:
        """Write what is left and put the file in its place; without a frame there is none.

        Raises:
            SaveError: it cannot be written.
        """
        if self._container is None:
            return
        try:
            self._mux(self._stream.encode())
            self._mux_sound(self._first + (self._last + 1) * float(self._time_base))
            self._close()
            check_own(self._temporary, self._own, self._path)
            os.replace(self._temporary, self._path)
        except (self._av.FFmpegError, OSError) as error:
            self.discard()
            raise SaveError(f'{self._path} cannot be written: {error}') from error

    def discard(self) -> None:
        """Remove what has been written."""
        if self._container is not None:
            with suppress(self._av.FFmpegError, OSError):  # its end need not be written any more
                self._close()
        if self._own is not None:
            remove_own(self._temporary, self._own)

    def _close(self) -> None:
        container, self._container = self._container, None
        if self._sound is not None:
            self._sound.close()
        container.close()

    def _open(self, shape: tuple[int, int]) -> None:
        codec = 'libx264' if 'libx264' in self._av.codecs_available else 'mpeg4'
        finest = _FINEST if codec == 'libx264' else _FINEST_MPEG4
        base = self._info.time_base
        self._time_base = base if base.denominator <= finest else Fraction(1, finest)
        self._temporary.unlink(missing_ok=True)  # so that no other process writes into this one's file
        self._container = self._av.open(str(self._temporary), 'w', format='mp4')
        rate = Fraction(self._info.frame_rate).limit_denominator(1001)
        options = {'crf': '20', 'preset': 'veryfast'} if codec == 'libx264' else {'qscale': '3'}
        self._stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        self._stream.height, self._stream.width = shape
        odd = any(side % 2 for side in shape)  # planes of half the size need even sides
        self._stream.pix_fmt = 'yuv444p' if odd and codec == 'libx264' else 'yuv420p'
        self._stream.time_base = self._stream.codec_context.time_base = self._time_base
        self._stream.codec_context.colorspace = 1  # ITU 709
        self._stream.codec_context.color_range = 1  # 16 to 235
        if self._sound_of is not None and self._info.sound:
            self._sound = _Sound.copied(self._sound_of, self._container, self._first, self._info.origin)
        self._container.start_encoding()  # which makes the file
        self._own = self._temporary.stat()

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            self._container.mux(packet)

    def _mux_sound(self, seconds: float) -> None:
        """Write the sound up to a time of the video; what is damaged is left out."""
        for packet in self._sound.until(seconds) if self._sound is not None else ():
            try:
                self._container.mux(packet)
            except (self._av.InvalidDataError, self._av.ArgumentError):
                self._sound.damaged += 1


class _Sound:
    """The sound of a video, packet by packet.

    Attributes:
        damaged: the number of its parts that are left out.
    """

    def __init__(self, source: Any, stream: Any, first: float, origin: float) -> None:
        self.damaged = 0
        self._source, self._stream = source, stream
        self._first, self._origin = first, origin
        self._packets = source.demux(source.streams.audio[0])
        self._next: Packet | None = None
        self._name = source.name.removeprefix('file:')
        self._shift, self._last = 0, None  # in units of the time stamps

    @classmethod
    def copied(cls, name: str, target: OutputContainer, first: float, origin: float) -> _Sound | None:
        """Return the sound of a file, with a stream for it in ``target``; None where that cannot hold it.

        Args:
            name: the video file.
            target: where it is copied to.
            first: the time of the video that becomes 0.
            origin: the time stamp that is the time 0 of the video.
        """
        try:
            source = open_container(name)
        except DataError as error:
            print(printable(f'the sound is left out: {error}'))
            return None
        context = source.streams.audio[0].codec_context
        codec = 'sound of an unknown kind' if context is None else context.name
        if codec not in _SOUND_CODECS:
            source.close()
            print(printable(f'the sound of {name} is left out: an mp4 file cannot hold {codec}'))
            return None
        return cls(source, target.add_stream_from_template(source.streams.audio[0]), first, origin)

    def until(self, seconds: float) -> list[Packet]:
        """Return the packets up to a time of the video that have not been returned yet."""
        found = []
        while packet := self._next or self._take():
            start = float(packet.pts * packet.time_base) - self._origin
            if start >= seconds:
                self._next = packet
                break
            self._next = None
            if start >= self._first:
                shift = round((self._first + self._origin) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._stream
                found.append(packet)
        return found

    def _take(self) -> Packet | None:
        """Return the next packet, whose time stamps grow; None at the end, which may be where the file is damaged."""
        try:
            while (packet := next(self._packets, None)) is not None:
                if packet.pts is None or packet.dts is None or not packet.size:
                    continue
                back = 0 if self._last is None else self._last + 1 - packet.dts - self._shift
                if back * packet.time_base > _LEAST_JUMP:
                    self._shift += back + (packet.duration or 0)
                elif back > 0:
                    self.damaged += 1
                    continue
                packet.pts, packet.dts = packet.pts + self._shift, packet.dts + self._shift
                self._last = packet.dts
                return packet
        except import_av().FFmpegError:
            self.damaged += 1
        return None

    def close(self) -> None:
        """Close the file that it is read from, and say what was left out."""
        if self.damaged:
            print(printable(f'the sound of {self._name} is damaged: {self.damaged} of its parts are left out'))
        self._source.close()
