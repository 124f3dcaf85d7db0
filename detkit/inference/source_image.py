"""``SourceImage``: an image to predict on, which is decoded when it is read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from detkit.datasets.image_readers import has_reader
from detkit.datasets.transforms.loading import (
    UnreadableImageError,
    convert_pillow_image,
    decode_image,
    read_image,
    read_image_bytes,
)
from detkit.datasets.transforms.reduced_decoding import DecodedImage, decode_reduced
from detkit.utils.download import DownloadError, download
from detkit.utils.errors import DataError
from detkit.utils.limits import MAX_PIXELS

# An image at an address that is larger than this is not fetched.
MAX_DOWNLOAD_BYTES = 100_000_000
_MAX_PRELOADED_BYTES = 64_000_000
T = TypeVar('T')
ADDRESS = re.compile(r'(?i)([a-z][a-z0-9+.-]+)://')


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image to predict on; it is decoded when it is read.

    Attributes:
        name: its path or address; 'image3' for an image in memory, by its index in the source.
        content: the image where it is in memory: decoded ``(H, W, 3)`` uint8 RGB, encoded, or opened by Pillow.
        error: a sentence on why there is no image, where that is known without reading it.
        address: what it is downloaded from, where that has a password, which ``name`` has not.
    """

    name: str
    content: np.ndarray | bytes | Image.Image | None = None
    error: str | None = None
    address: str | None = field(default=None, repr=False, kw_only=True)

    def read(self, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """Return ``(H, W, 3)`` uint8 RGB, upright by its EXIF orientation.

        Raises:
            DataError: it cannot be read; the text is a sentence that names it.
        """
        if self.error is not None:
            raise DataError(self.error)
        try:
            if isinstance(self.content, np.ndarray):
                return self.content
            if isinstance(self.content, Image.Image):
                return convert_pillow_image(self.content, self.name, max_pixels)
            if self.content is not None:
                return decode_image(self.content, self.name, max_pixels)
            if self.is_remote:
                return decode_image(self._downloaded, self.name, max_pixels)
            return read_image(self.name, max_pixels)
        except UnreadableImageError as error:
            raise DataError(f'{error.path} {error.reason}') from error

    def preload(self) -> None:
        """Read the file, if it is one of ordinary size, so that the system has it at hand when it is decoded."""
        if self.content is None and self.error is None and not self.is_remote:
            with suppress(OSError, ValueError):  # which ``read`` reports
                path = Path(self.name)
                if path.is_file() and path.stat().st_size <= _MAX_PRELOADED_BYTES:
                    path.read_bytes()

    def read_with(self, decode: Callable[[bytes | np.ndarray, str, int], np.ndarray], max_pixels: int) -> np.ndarray:
        """Return what ``read`` does, decoded by ``decode(contents, name, max_pixels)`` where it is encoded.

        Raises:
            DataError: see ``read``.
        """
        return self._decoded(decode, max_pixels) if self._is_encoded else self.read(max_pixels)

    def read_reduced(self, divisor_of: Callable[[tuple[int, int]], int], max_pixels: int = MAX_PIXELS) -> DecodedImage:
        """Return the image, a JPEG at the part of its size that is asked for, see ``decode_reduced``.

        Raises:
            DataError: see ``read``.
        """
        if not self._is_encoded:
            return DecodedImage.whole(self.read(max_pixels))
        return self._decoded(lambda data, name, most: decode_reduced(data, name, divisor_of, most), max_pixels)

    @property
    def is_remote(self) -> bool:
        """Whether it has to be downloaded."""
        return self.content is None and ADDRESS.match(self.name) is not None and not has_reader(self.name)

    @property
    def _is_encoded(self) -> bool:
        is_own = self.content is None and has_reader(self.name)
        return self.error is None and not is_own and not isinstance(self.content, np.ndarray | Image.Image)

    def _decoded(self, decode: Callable[[bytes | np.ndarray, str, int], T], max_pixels: int) -> T:
        try:
            data = self.content
            if data is None:
                data = self._downloaded if self.is_remote else read_image_bytes(self.name, max_pixels)
            return decode(data, self.name, max_pixels)
        except UnreadableImageError as error:
            raise DataError(f'{error.path} {error.reason}') from error

    @cached_property
    def _downloaded(self) -> bytes:
        with tempfile.TemporaryDirectory(prefix='detkit-') as folder:
            path = Path(folder) / 'image'
            try:
                download(self.address or self.name, path, MAX_DOWNLOAD_BYTES)
            except DownloadError as error:
                raise DataError(f'{self.name} cannot be downloaded: {error}') from error
            return path.read_bytes()
