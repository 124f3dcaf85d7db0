"""Addresses of files and streams, which may hold a user's name and password."""

from __future__ import annotations

import re
from urllib.parse import unquote

_USER = re.compile(r'(?<=://)[^\s/?#\'"]*@')


def without_password(text: str) -> str:
    """Return a text in which ``***`` stands for user and password of an address: ``rtsp://***@host/live``.

    What is shown, logged or written has this form of an address.
    """
    return _USER.sub('***@', text)


def split_user(address: str) -> tuple[str, tuple[str, str] | None]:
    """Return an address without user and password, and both of them; None in their place where it has none."""
    found = _USER.search(address)
    if found is None:
        return address, None
    user, _, password = found[0][:-1].partition(':')
    return address[: found.start()] + address[found.end() :], (unquote(user), unquote(password))
