"""Bodies of requests: read as they come, within limits of size and time, and taken apart into images."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from detkit.serving.problems import RequestProblem
from detkit.serving.settings import ServeSettings
from detkit.utils.printable import printable

_KINDS = 'multipart/form-data, application/json, application/octet-stream or an image type such as image/jpeg'
_MAX_NAME = 200
_MAX_MARKS = 100  # brackets and commas in the JSON of an image
# A parameter of a header: its name, and its value with its quotes.
_PARAMETER = re.compile(r';\s*([^=;\s]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;]*)')
_EXTRA_PARTS = 8  # of a form beside its images, such as fields for files that were left empty


@dataclass(frozen=True)
class Upload:
    """An image of a request.

    Attributes:
        name: what the client calls it, or 'image3' by its index.
        data: the contents of the file; None where only its address is given.
        url: its address.
    """

    name: str
    data: bytes | None = None
    url: str | None = None


class BodyMemory:
    """The bytes of bodies that all requests together hold in memory."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def take(self, count: int) -> None:
        """Count bytes as held.

        Raises:
            RequestProblem: there would be too many.
        """
        if self.held + count > self.limit:
            raise RequestProblem(
                503, 'the server holds as many uploads as it may; send it again later', retry=True, unread=True
            )
        self.held += count

    def give_back(self, count: int) -> None:
        """Count bytes as held no longer."""
        self.held -= count


class BodyReader:
    """Reads the bodies of requests.

    Args:
        settings: the limits.
        memory: what all bodies share.
    """

    def __init__(self, settings: ServeSettings, memory: BodyMemory) -> None:
        self._settings, self._memory = settings, memory

    async def read(self, request: Request) -> tuple[list[Upload], int]:
        """Return the images of a request, and the bytes of ``memory`` that they hold, to be given back.

        Raises:
            RequestProblem: the body is too large, too slow, malformed, or of a kind that is not known.
            ClientDisconnect: the client has gone.
        """
        body = _Body(request, self._settings, self._memory)
        try:
            return await asyncio.wait_for(self._uploads(request, body), self._settings.body_seconds), body.held
        except asyncio.TimeoutError as error:
            body.give_back()
            raise RequestProblem(
                408, f'the body did not arrive within {self._settings.body_seconds:g} s', unread=True
            ) from error
        except BaseException:
            body.give_back()
            raise

    async def _uploads(self, request: Request, body: _Body) -> list[Upload]:
        kind, parameters = _options_of(request.headers.get('content-type', ''))
        if 'content-encoding' in request.headers:
            raise RequestProblem(415, 'the body has a Content-Encoding; send it without', unread=True)
        if kind == b'multipart/form-data':
            uploads = await _read_multipart(body, parameters.get(b'boundary', b''), self._settings.max_images)
        elif kind == b'application/json':
            text = await body.whole()
            uploads = await asyncio.get_running_loop().run_in_executor(
                None, _read_json, text, self._settings.max_images
            )
        elif kind == b'application/octet-stream' or kind.startswith(b'image/'):
            data = await body.whole()
            uploads = [Upload('image0', data)] if data else []
        else:
            given = f'{printable(kind.decode("latin-1"))[:80]!r} is not understood' if kind else 'is missing'
            raise RequestProblem(415, f'the Content-Type {given}; send {_KINDS}', unread=True)
        if not uploads:
            raise RequestProblem(400, 'the request holds no image')
        if len(uploads) > self._settings.max_images:
            raise RequestProblem(
                413, f'the request holds {len(uploads)} images, but may hold {self._settings.max_images} at most'
            )
        return uploads


class _Body:
    """The body of a request as it comes; ``held`` counts what ``memory`` counts for it."""

    def __init__(self, request: Request, settings: ServeSettings, memory: BodyMemory) -> None:
        self._request, self._limit, self._memory = request, settings.max_bytes, memory
        self.held = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        length = self._request.headers.get('content-length', '0')
        if int(length[:20]) > self._limit:  # the protocol has only digits here
            raise self._too_large()
        received = 0
        async for chunk in self._request.stream():
            received += len(chunk)
            if received > self._limit:
                raise self._too_large()
            self._memory.take(len(chunk))
            self.held += len(chunk)
            yield chunk

    async def whole(self) -> bytes:
        return b''.join([chunk async for chunk in self.chunks()])

    def give_back(self) -> None:
        self._memory.give_back(self.held)
        self.held = 0

    def _too_large(self) -> RequestProblem:
        return RequestProblem(413, f'the body is larger than {self._limit:,} bytes', unread=True)


class _Parts:
    """Collects the files of a multipart body from what its parser calls."""

    def __init__(self, max_images: int) -> None:
        self.uploads: list[Upload] = []
        self.ended = False
        self._max_images, self._begun = max_images, 0
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value, self._data = bytearray(), bytearray(), bytearray()

    def callbacks(self) -> dict[str, Callable]:
        return {
            'on_part_begin': self._begin,
            'on_header_field': lambda data, start, end: self._field.extend(data[start:end]),
            'on_header_value': lambda data, start, end: self._value.extend(data[start:end]),
            'on_header_end': self._end_header,
            'on_part_data': lambda data, start, end: self._data.extend(data[start:end]),
            'on_part_end': self._end,
            'on_end': self._end_all,
        }

    def _begin(self) -> None:
        self._begun += 1
        if len(self.uploads) == self._max_images or self._begun > self._max_images + _EXTRA_PARTS:
            raise RequestProblem(413, f'the request holds more than {self._max_images} images', unread=True)
        self._headers, self._data = {}, bytearray()

    def _end_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        disposition = self._headers.get(b'content-disposition', b'')
        filename = _filename_of(disposition)
        if filename is None:
            _, options = _options_of(disposition)
            field = printable(options.get(b'name', b'').decode('utf-8', 'replace'))[:80]
            raise RequestProblem(
                422,
                f'the field {field!r} of the form is no file; options belong in the query: ?score_thr=0.5',
                unread=True,
            )
        name = safe_name(filename, len(self.uploads))
        if self._data or filename:  # a form whose field for files was left empty has neither
            self.uploads.append(Upload(name, bytes(self._data)))
        self._data = bytearray()

    def _end_all(self) -> None:
        self.ended = True


def _options_of(header: str | bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the value and the parameters of a header; older parsers fail at some parameters of RFC 2231 (``a*0=``)."""
    try:
        return parse_options_header(header)
    except (TypeError, ValueError) as error:
        shown = printable(header if isinstance(header, str) else header.decode('latin-1'))[:80]
        raise RequestProblem(400, f'{shown!r} has parameters that cannot be read', unread=True) from error


def _filename_of(disposition: bytes) -> str | None:
    """Return the name of the file in a part of a form, None for a part that is no file.

    The parameter ``filename*`` (RFC 5987), which some clients give alone and parsers leave out, counts where there is
    no ``filename``; so do its numbered pieces (RFC 2231), whose name is left out.
    """
    _, options = _options_of(disposition)
    if b'filename' in options:
        return options[b'filename'].decode('utf-8', 'replace')
    found = {name.lower(): value for name, value in _PARAMETER.findall(disposition.decode('latin-1'))}
    if 'filename' in found:  # in upper case
        return found['filename'].strip(' "')
    pieces = [name for name in found if name.startswith('filename*')]
    if not pieces:
        return None
    charset, _, encoded = found.get('filename*', '').strip(' "').partition("'")
    encoded = encoded.partition("'")[2]
    latin = charset.lower() in ('iso-8859-1', 'latin-1')
    return unquote_to_bytes(encoded.encode('latin-1')).decode('latin-1' if latin else 'utf-8', 'replace')


async def _read_multipart(body: _Body, boundary: bytes, max_images: int) -> list[Upload]:
    parts = _Parts(max_images)
    if not boundary:
        raise RequestProblem(400, 'the Content-Type multipart/form-data has no boundary', unread=True)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for chunk in body.chunks():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise RequestProblem(
            400, f'the multipart body is malformed: {printable(str(error))[:200]}', unread=True
        ) from error
    if not parts.ended:
        raise RequestProblem(400, 'the multipart body ends before its last boundary')
    return parts.uploads


def _read_json(text: bytes, max_images: int) -> list[Upload]:
    # Millions of small lists would take many times the memory of their text.
    if sum(map(text.count, (b'[', b'{', b','))) > _MAX_MARKS * (max_images + 1):
        raise RequestProblem(413, f'the JSON has more entries than {max_images} images need')
    try:
        content = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise RequestProblem(400, f'the body is no JSON: {printable(str(error))[:200]}') from error
    entries = content.get('images') if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {'images'}:
        raise RequestProblem(422, _JSON_FORM)
    return [_of_entry(entry, index) for index, entry in enumerate(entries)]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [name for name, number in Counter(name for name, _ in pairs).items() if number > 1]
    if repeated:
        raise RequestProblem(422, f'an object of the JSON has the key {printable(repeated[0])[:80]!r} twice')
    return dict(pairs)


_JSON_FORM = (
    'the JSON must be {"images": [...]}, each image being its file in base64 or {"data": ..., "name": ...} or '
    '{"url": ..., "name": ...}; options belong in the query: ?score_thr=0.5'
)


def _of_entry(entry: Any, index: int) -> Upload:
    entry = {'data': entry} if isinstance(entry, str) else entry
    wrong = (
        not isinstance(entry, dict) or len({'data', 'url'} & set(entry)) != 1 or set(entry) - {'data', 'url', 'name'}
    )
    if wrong or not all(isinstance(value, str) for value in entry.values()):
        raise RequestProblem(422, f'image {index}: {_JSON_FORM}')
    if 'url' in entry:
        return Upload(safe_name(entry.get('name', entry['url']), index), url=entry['url'])
    text = entry['data']
    if text.startswith('data:'):
        head, _, text = text.partition(',')
        if not head.endswith(';base64'):
            raise RequestProblem(422, f'image {index}: its data address is not in base64')
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: letters beyond ASCII
        raise RequestProblem(422, f'image {index} is no base64: {printable(str(error))[:100]}') from error
    return Upload(safe_name(entry.get('name', ''), index), data)


def safe_name(name: str, index: int) -> str:
    """Return the last part of a client's name for an image, without what cannot be shown."""
    last = PurePosixPath(name[-4 * _MAX_NAME :].replace('\\', '/')).name
    return printable(last[-_MAX_NAME:]) or f'image{index}'


__all__ = ['BodyMemory', 'BodyReader', 'ClientDisconnect', 'Upload', 'safe_name']
