"""Drawn results in a folder: a picture for each image, and a video for each video."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np

from detkit.inference.source_image import SourceImage
from detkit.inference.video import Video, VideoFrame
from detkit.inference.video_writer import VideoWriter
from detkit.utils.errors import ConfigError
from detkit.utils.pictures import check_folder_spares, check_spared, encode_picture, write_encoded


def check_sources_spared(sources: Iterable[object], out_dir: Path) -> None:
    """Check that no image or video of ``sources`` lies where drawn ones are written, which have names such as theirs.

    Raises:
        ConfigError: one does; or ``out_dir`` is a file.
    """
    found = [source for source in sources if isinstance(source, SourceImage | Video) and os.path.isfile(source.name)]
    for suffix, kind in (('.jpg', SourceImage), ('.mp4', Video)):
        check_folder_spares(out_dir, [source.name for source in found if isinstance(source, kind)], suffix)


def make_folder(path: Path) -> None:
    """Make the folder for results.

    Raises:
        ConfigError: there is a file of that name.
    """
    if path.is_file():
        raise ConfigError(f'{path} is a file; results are written into a folder')
    path.mkdir(parents=True, exist_ok=True)


def ends_camera(error: BaseException | None, image: SourceImage | None) -> bool:
    """Return whether an error is the interrupt by which a camera or a stream ends, which has no other end.

    Args:
        error: None where there is none.
        image: the last one.
    """
    endless = isinstance(image, VideoFrame) and image.info is not None and image.info.duration is None
    return endless and isinstance(error, KeyboardInterrupt)


class DrawnOutput:
    """A folder of drawn pictures and videos; a context manager, which finishes the video that is being written.

    Args:
        out_dir: the folder, which exists.

    Raises:
        ConfigError: a file would be written over the one that it shows.
        SaveError, OSError: a file cannot be written.
    """

    def __init__(self, out_dir: Path) -> None:
        self._out_dir = out_dir
        self._stem = ''
        self._writer: VideoWriter | None = None
        self._last: VideoFrame | None = None

    def __enter__(self) -> DrawnOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None or ends_camera(error, self._last):
            self.end_video()
        elif self._writer is not None:
            self._writer.discard()

    def encode(self, image: SourceImage, picture: np.ndarray) -> np.ndarray | bytes:
        """Return what ``write`` takes of a picture ``(H, W, 3)`` uint8 RGB: a frame as it is, else a file's content.

        It may be called in several threads.
        """
        return picture if isinstance(image, VideoFrame) else encode_picture(Path(f'{image.name}.jpg'), picture)

    def write(self, image: SourceImage, picture: np.ndarray | bytes, stem: str) -> None:
        """Write what was drawn on an image.

        Args:
            image: its source.
            picture: see ``encode``.
            stem: of the picture's file; or of the video's, where the image is a frame. Another stem is another video.
        """
        if not isinstance(image, VideoFrame):
            self.end_video()
            write_encoded(self._out_dir / f'{stem}.jpg', picture, image.name)
            return
        if self._writer is None or stem != self._stem:
            self.end_video()
            path = self._out_dir / f'{stem}.mp4'
            check_spared(path, image.name)
            self._writer = VideoWriter(path, image.info, image.name if os.path.isfile(image.name) else None)
            self._stem = stem
        self._last = image
        self._writer.write(picture, image.seconds)

    def end_video(self) -> None:
        """Put the video that is being written in its place."""
        writer, self._writer, self._last = self._writer, None, None
        if writer is not None:
            writer.finish()
