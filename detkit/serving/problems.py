"""``RequestProblem``: what is wrong with a request, as its answer says it."""

from __future__ import annotations


class RequestProblem(Exception):
    """A request that is not answered with predictions.

    Args:
        status: the HTTP status.
        text: a sentence for whoever sent it.
        retry: whether the same request may succeed later.
        unread: whether a part of the body may not have been read, so that the connection cannot be used again.
    """

    def __init__(self, status: int, text: str, retry: bool = False, unread: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry = retry
        self.unread = unread
