"""Images at addresses, from hosts that the server's owner allows, and never from a network that is not public."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from detkit.serving.problems import RequestProblem
from detkit.serving.settings import ServeSettings
from detkit.utils.printable import printable

_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 3
_STALL_SECONDS = 5.0
_BLOCK = 1 << 16
_NAT64 = ipaddress.ip_network('64:ff9b::/96')


class Fetcher:
    """Fetches images at addresses.

    Each address, and each one that it redirects to, must be of an allowed host. The host's name is looked up once, and
    the connection goes to the addresses that were checked, so that a name which changes its address meanwhile gains
    nothing. Proxies of the environment are not used.

    Args:
        settings: the hosts that are allowed, and the limits.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._hosts = {host.lower() for host in settings.allow_urls}

    def fetch(self, url: str) -> bytes:
        """Return what is at an address.

        Raises:
            RequestProblem: it is not allowed (403), no address (422), or could not be fetched (424, 413).
        """
        shown = printable(url)[:200]
        if not self._hosts:
            raise RequestProblem(403, 'this server fetches no addresses; send the image itself')
        end = time.monotonic() + self._settings.body_seconds
        for _ in range(_MAX_REDIRECTS + 1):
            parts = self._checked(url)
            try:
                found = self._get(parts, end)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise RequestProblem(424, f'{shown} could not be fetched: {_reason(error)}') from error
            if isinstance(found, bytes):
                return found
            try:
                url = urljoin(url, found)
                less_safe = parts.scheme == 'https' and urlsplit(url).scheme == 'http'
            except ValueError as error:
                raise RequestProblem(424, f'{shown} redirects to no address') from error
            if less_safe:
                raise RequestProblem(424, f'{shown} redirects to http')
        raise RequestProblem(424, f'{shown} redirects more than {_MAX_REDIRECTS} times')

    def _checked(self, url: str) -> SplitResult:
        """Return the parts of an address that may be fetched, as far as its name says."""
        try:
            parts = urlsplit(quote(url, safe="%/:=&?~#+!$,;'@()*[]"))
            port, host = parts.port, parts.hostname
        except ValueError as error:
            raise RequestProblem(422, f'{printable(url)[:200]!r} is no address') from error
        if parts.scheme not in ('http', 'https') or not host or parts.username is not None:
            raise RequestProblem(422, f'{printable(url)[:200]!r} is no address that begins with http:// or https://')
        usual = port in (None, {'http': 80, 'https': 443}[parts.scheme])
        named = host if usual else f'{host}:{port}'
        if named not in self._hosts and not ('*' in self._hosts and usual):
            raise RequestProblem(403, f'this server fetches nothing from {printable(named)[:200]}')
        return parts

    def _get(self, parts: SplitResult, end: float) -> bytes | str:
        """Return the content of an address, or the one that it redirects to."""
        port = parts.port or {'http': 80, 'https': 443}[parts.scheme]
        sock = self._connect(parts.hostname, port, end)
        try:
            if parts.scheme == 'https':
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
            connection = http.client.HTTPConnection(parts.hostname, port)
            connection.sock = sock
            target = (parts.path or '/') + (f'?{parts.query}' if parts.query else '')
            connection.request(
                'GET', target, headers={'User-Agent': 'detkit', 'Accept': 'image/*', 'Connection': 'close'}
            )
            return self._read(connection.getresponse(), sock, end)
        finally:
            sock.close()

    def _connect(self, host: str, port: int, end: float) -> socket.socket:
        """Connect to a host at one of its addresses, all of which must be allowed."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, address in found:
            if not self._settings.allow_private_urls and not is_public(address[0]):
                raise RequestProblem(403, f'{printable(host)[:200]} has an address that is not public')
        error: OSError | None = None
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            sock.settimeout(_left(end))
            try:
                sock.connect(address)
                return sock
            except OSError as failed:
                sock.close()
                error = failed
        raise error or OSError('its name has no address')

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket, end: float) -> bytes | str:
        if response.status in _REDIRECTS:
            return response.headers.get('Location', '')
        if response.status != http.client.OK:
            raise ValueError(f'its server answers with status {response.status}')
        limit = self._settings.max_bytes
        data = bytearray()
        while block := response.read1(_BLOCK):
            data += block
            if len(data) > limit:
                raise RequestProblem(413, f'what is at the address is larger than {limit:,} bytes')
            sock.settimeout(_left(end))
        if response.length:  # of a length that was stated, so much has not arrived
            raise ValueError('the connection broke')
        return bytes(data)


def is_public(text: str) -> bool:
    """Return whether an IP address is one of the public internet, also where it stands for one of version 4."""
    address = ipaddress.ip_address(text.partition('%')[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast and not address.is_reserved


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError('it takes too long')
    return min(left, _STALL_SECONDS)


def _reason(error: Exception) -> str:
    return printable(str(getattr(error, 'strerror', None) or error) or type(error).__name__)[:200]
