"""How errors leave the server: one JSON envelope for programs, one HTML page for people.

Owns the mapping from exception to status. Views raise, and never build an error themselves.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, render_template, request
from markupsafe import escape
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException, InternalServerError

from shared.errors import (
    Conflict,
    FieldError,
    InvalidInput,
    NotFound,
    QueueUnavailable,
    StorageFull,
    StoreUnavailable,
    TrainyardError,
)
from shared.schema import mismatch

MEDIA_TYPE = "application/problem+json"
# Paths that programs read; an error anywhere else is a page.
_FOR_PROGRAMS = ("/api/", "/healthz", "/readyz", "/metrics")
_RETRY_AFTER_SECONDS = 5
_KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")

log = logging.getLogger(__name__)


class Busy(TrainyardError):
    """The server has no room for this now; the caller should come back later."""


class TooManyAttempts(TrainyardError):
    """Somebody guesses; `retry_after_seconds` is how long nothing more is looked at."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            f"Too many wrong tokens from your address. Try again in {retry_after_seconds} s."
        )
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Problem:
    """An error as RFC 9457 has it, with our list of broken rules.

    Attributes:
        status: HTTP status.
        detail: what went wrong and what to do, for a person.
        errors: broken rules, each with its field.
        headers: headers to send along.
    """

    status: HTTPStatus
    detail: str
    errors: list[FieldError] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The status's name."""
        return self.status.phrase

    def as_dict(self) -> dict[str, Any]:
        """Return the body."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status.value,
            "detail": self.detail,
            "errors": [error.as_dict() for error in self.errors],
        }


_STATUS = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    StorageFull: HTTPStatus.INSUFFICIENT_STORAGE,
    QueueUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
}


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(TrainyardError, _on_ours)
    app.register_error_handler(HTTPException, _on_http)
    for refused in (OperationalError, ProgrammingError):
        app.register_error_handler(refused, _on_sql_refused)
    for away in (InterfaceError, PoolTimeoutError):
        app.register_error_handler(away, _on_database_away)
    app.register_error_handler(Exception, _on_unexpected)


def for_programs() -> bool:
    """Tell whether programs, not people, read the answer to this request."""
    return request.path.startswith(_FOR_PROGRAMS)


def respond(problem: Problem) -> Response:
    """Render the problem for whoever asked: JSON for programs, a page for people."""
    if for_programs():
        body = json.dumps(problem.as_dict(), default=repr)
        response = Response(body, problem.status.value, content_type=MEDIA_TYPE)
    else:
        response = Response(_page(problem), problem.status.value)
    response.headers.update(problem.headers)
    return response


def _page(problem: Problem) -> str:
    try:
        return render_template("error.html", problem=problem)
    except Exception:
        # Whatever breaks pages must not hide the error that this page is about.
        log.exception("The error page cannot be rendered.")
        return f"<!doctype html><title>{problem.title}</title><p>{escape(problem.detail)}</p>"


def _on_ours(error: TrainyardError) -> Response:
    status = _STATUS.get(type(error))
    if status is None:
        return _on_unexpected(error)
    if isinstance(error, InvalidInput):
        return respond(Problem(status, str(error), error.errors))
    seconds = getattr(error, "retry_after_seconds", _RETRY_AFTER_SECONDS)
    later = status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
    headers = {"Retry-After": str(seconds)} if later else {}
    return respond(Problem(status, str(error), headers=headers))


def _on_http(error: HTTPException) -> Any:
    if error.response is not None or error.code is None or error.code < 400:
        return error  # a redirect, or a response made on purpose
    if isinstance(error, InternalServerError):
        return _on_unexpected(error.original_exception or error)
    headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
    status = HTTPStatus(error.code)
    return respond(Problem(status, _http_detail(error, status), headers=headers))


def _http_detail(error: HTTPException, status: HTTPStatus) -> str:
    if status is HTTPStatus.NOT_FOUND:
        return f"There is nothing at {request.path}."
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        return f"{request.method} is not possible at {request.path}; allowed: {allowed}."
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"The body may have at most {request.max_content_length:,} bytes."
    return error.description or status.description


def _on_sql_refused(error: DBAPIError) -> Response:
    """Tell tables of another revision, which know no such column, from a database that is away."""
    detail = _mismatch() if _has_answered(error) else None
    if detail is not None:
        log.error("%s %s", detail, error)
        return _unavailable(detail)
    if isinstance(error, ProgrammingError):
        return _on_unexpected(error)
    return _on_database_away(error)


def _has_answered(error: DBAPIError) -> bool:
    """Whether the database was there to refuse a statement: asking it again takes no time."""
    return error.statement is not None and not error.connection_invalidated


def _mismatch() -> str | None:
    from web.yard import current_yard  # which knows this module

    try:
        return mismatch(current_yard().database)
    except SQLAlchemyError:
        return None


def _on_database_away(error: Exception) -> Response:
    log.error("The database cannot be used: %s", error)
    return _unavailable("The database cannot be reached at the moment; try again in a few seconds.")


def _unavailable(detail: str) -> Response:
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    return respond(Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers))


def _on_unexpected(error: BaseException) -> Response:
    log.error("%s %s failed.", request.method, request.path, exc_info=error)
    detail = "Something went wrong inside the server; its log has the reason."
    return respond(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))
