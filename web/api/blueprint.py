"""The API's blueprint, and the words in which a view documents itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Blueprint
from pydantic import BaseModel

View = TypeVar("View", bound=Callable[..., Any])

bp = Blueprint("api", __name__, url_prefix="/api/v1")
# Numbers that SQL can hold; others belong to no job.
JOB = "/jobs/<int(max=9223372036854775807):job_id>"


@dataclass(frozen=True)
class Parameter:
    """A query parameter or header of an operation."""

    name: str
    description: str
    schema: dict[str, Any]
    place: str = "query"


@dataclass(frozen=True)
class Operation:
    """What the OpenAPI document says of a view.

    Attributes:
        summary: what it does, in a few words.
        response: model of the JSON answer, or a media type.
        status: of the answer when all is well.
        body: model of the request's JSON, or a media type.
        parameters: besides those of the path.
        errors: statuses of the problems that it may answer with.
    """

    summary: str
    response: type[BaseModel] | str | None
    status: int = 200
    body: type[BaseModel] | str | None = None
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()


def documented(operation: Operation) -> Callable[[View], View]:
    """Attach an operation's documentation to its view."""

    def attach(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return attach
