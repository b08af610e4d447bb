"""The project's exceptions, all derived from one base.

TrainyardError
+-- InvalidInput       what the caller sent breaks a rule; names field, rule and value
+-- NotFound           no such job, dataset, artifact ...
+-- Conflict           the request does not fit the present state
+-- LeaseLost          this attempt no longer owns its job and must stop
+-- QueueUnavailable   Redis cannot be reached
+-- StoreUnavailable   the artifact store cannot be reached
|   +-- StoreRefused   it answers, and does not permit what is asked
+-- StorageFull        there is no room for a file
+-- ConfigurationError a setting is missing or cannot be used
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


class TrainyardError(Exception):
    """Base of every error that Trainyard raises on purpose."""


@dataclass(frozen=True)
class FieldError:
    """One broken rule.

    Attributes:
        field: dotted path of the field, such as `model.filters`; empty for the whole document.
        rule: what is allowed, as a sentence.
        received: the value that broke it, JSON-compatible.
    """

    field: str
    rule: str
    received: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return the error as a JSON-compatible dict."""
        return asdict(self)

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.rule} Received: {self.received!r}."


class InvalidInput(TrainyardError):
    """The caller's input breaks one or more rules; nothing was written."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(" ".join(str(error) for error in errors))
        self.errors = errors

    @classmethod
    def of(cls, field: str, rule: str, received: Any = None) -> InvalidInput:
        """Build the error of a single broken rule."""
        return cls([FieldError(field, rule, received)])


class NotFound(TrainyardError):
    """No such thing; the message names what was looked for."""


class Conflict(TrainyardError):
    """The request does not fit the present state, which the message names."""


class LeaseLost(TrainyardError):
    """This attempt's lease is over: whoever held it may write nothing more."""


class QueueUnavailable(TrainyardError):
    """Redis cannot be reached within the bounded time."""


class StoreUnavailable(TrainyardError):
    """The artifact store does not answer, or refuses what is asked."""


class StoreRefused(StoreUnavailable):
    """The artifact store does not permit what is asked; trying again will not help."""


class StorageFull(TrainyardError):
    """There is no room for a file; nothing of it was kept."""


class ConfigurationError(TrainyardError):
    """A setting is missing or unusable; the message names it and says what to do."""
