"""``ServeSettings``: how a server batches, and what it accepts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from detkit.utils.errors import ConfigError

_MAY_BE_ZERO = {'max_wait_ms'}


@dataclass(frozen=True)
class ServeSettings:
    """How a server batches, and what it accepts.

    Attributes:
        batch_size: most images that the network gets at a time.
        max_wait_ms: milliseconds that an image waits for others that are on their way; an image that is alone does not
            wait.
        max_queue: most images that are accepted and not answered yet; further ones are refused with status 503.
        max_bytes: most bytes of a request's body.
        max_pixels: most pixels of an image.
        max_mask_pixels: most pixels of an image times ``max_per_img``, where the model makes masks; images that share a
            batch have no more together. All masks may be as large as their image, at a byte a pixel.
        max_images: most images of a request.
        max_img_size: largest ``img_size`` that a request may ask for.
        max_per_img: largest ``max_per_img`` that a request may ask for.
        max_connections: most connections at a time; further ones are closed at once.
        max_body_memory: most bytes of bodies that are held in memory, of all requests together.
        body_seconds: the time that a request's headers may take to arrive, and then its body.
        deadline_seconds: the time that a request may take as a whole; also what is finished within it at a shutdown.
        allow_urls: hosts from which images at addresses are fetched, as ``'example.org'``, ``'example.org:8080'``, or
            ``'*'`` for any; none are by default.
        allow_private_urls: whether those may have addresses in private networks, this machine included.
        cors_origins: web origins whose pages may use the server, such as ``'https://example.org'``.
        token: what requests must send as ``Authorization: Bearer TOKEN``; None for no such thing.
    """

    batch_size: int = 8
    max_wait_ms: float = 5.0
    max_queue: int = 128
    max_bytes: int = 32 << 20
    max_pixels: int = 1 << 26
    max_mask_pixels: int = 1 << 33
    max_images: int = 16
    max_img_size: int = 2048
    max_per_img: int = 1000
    max_connections: int = 500
    max_body_memory: int = 1 << 29
    body_seconds: float = 20.0
    deadline_seconds: float = 60.0
    allow_urls: tuple[str, ...] = ()
    allow_private_urls: bool = False
    cors_origins: tuple[str, ...] = ()
    token: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool) or not isinstance(field.default, int | float):
                continue
            kind, noun = (int, 'a whole number of at least 1') if isinstance(field.default, int) else (Real, 'above 0')
            least = 0 if field.name in _MAY_BE_ZERO else 1 if kind is int else math.ulp(0.0)
            if not isinstance(value, kind) or isinstance(value, bool) or not least <= value < math.inf:
                raise ConfigError(f'{field.name} is {value!r}, but must be {noun}')
        for origin in self.cors_origins:
            if origin != '*' and (not origin.startswith(('http://', 'https://')) or origin.count('/') != 2):
                raise ConfigError(f"cors_origins has {origin!r}, but an origin is written as 'https://example.org'")
        for host in self.allow_urls:
            if '/' in host or not host:
                raise ConfigError(
                    f"allow_urls has {host!r}, but a host is written as 'example.org' or 'example.org:8080'"
                )
        if self.token is not None and (
            not self.token.isascii() or not self.token.isprintable() or len(self.token) < 16
        ):
            raise ConfigError('the token must be 16 or more printable ASCII characters')
        if self.max_images > self.max_queue:
            raise ConfigError(
                f'max_images is {self.max_images}, more than the {self.max_queue} images that max_queue lets wait'
            )
