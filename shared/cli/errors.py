"""What can go wrong between a command and the server."""

from __future__ import annotations

from shared.errors import TrainyardError


class Unreachable(TrainyardError):
    """The server cannot be reached, or cannot answer at the moment."""


class Unsendable(TrainyardError):
    """A file of this machine cannot be read, or a folder not be packed."""


class Refused(TrainyardError):
    """The server refuses the request.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
