"""What one can ask of the list of jobs: filters, order, and the place to go on from.

Owns the words of the URL, for the API and the pages alike. Knows nothing of SQL.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from shared.errors import InvalidInput
from shared.models import SORTABLE, Status
from shared.spec import JobSpec

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
DEFAULT_SORT = "-id"
# Jobs are numbered in the order of submission.
SORT_ALIASES = {"submitted_at": "id"}
SORTS = (*SORTABLE, *SORT_ALIASES)

_PARAM_PREFIX = "param."
_MAX_TEXT = 200
_NO_CONTROL_CHARACTERS = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")


@dataclass(frozen=True)
class JobFilter:
    """Which jobs; an empty filter means all.

    Attributes:
        status: any of these.
        words: each stands in the name, or is the job's number; `#7` is only that.
        tags: the job has all of these.
        dataset, model: exactly this one.
        params: dotted paths in the spec, each with the value it must have.
    """

    status: tuple[Status, ...] = ()
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    dataset: str | None = None
    model: str | None = None
    params: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Sort:
    """The order of the list; equal values follow the job's number, none come last.

    Attributes:
        column: one of `SORTABLE`.
        descending: largest first.
    """

    column: str
    descending: bool

    @classmethod
    def parse(cls, text: str) -> Sort:
        """Read `column` or `-column`.

        Raises:
            InvalidInput: the list cannot be sorted by that.
        """
        name = text.removeprefix("-")
        if name not in SORTS:
            raise InvalidInput.of(
                "sort", f"Must be one of: {', '.join(SORTS)}; descending with `-` in front.", text
            )
        return cls(SORT_ALIASES.get(name, name), text.startswith("-"))

    def __str__(self) -> str:
        return f"-{self.column}" if self.descending else self.column


@dataclass(frozen=True)
class Cursor:
    """The last row of a page: its value in the sorted column, and its number.

    Attributes:
        sort: the order that it belongs to.
        value: None if the row has no value there.
        job_id: number of the row.
    """

    sort: Sort
    value: str | float | int | None
    job_id: int

    def encode(self) -> str:
        """Return the cursor as the opaque text that callers hand back."""
        text = json.dumps([str(self.sort), self.value, self.job_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, sort: Sort) -> Cursor:
        """Read what `encode` returned.

        Raises:
            InvalidInput: it is no cursor, or one of another order.
        """
        try:
            padded = text + "=" * (-len(text) % 4)
            of, value, job_id = json.loads(base64.b64decode(padded, "-_", validate=True))
        except (ValueError, TypeError, RecursionError):
            raise InvalidInput.of("cursor", "Must be a `next_cursor` of this list.", text) from None
        if of != str(sort) or not _is_number(job_id) or not _fits(value, sort.column):
            raise InvalidInput.of("cursor", "Must be a `next_cursor` of the same order.", text)
        return cls(sort, value, job_id)


@dataclass(frozen=True)
class JobQuery:
    """A page of the list of jobs."""

    filter: JobFilter = JobFilter()
    sort: Sort = Sort("id", True)
    limit: int = DEFAULT_LIMIT
    cursor: Cursor | None = None

    @classmethod
    def parse(cls, arguments: Iterable[tuple[str, str]]) -> JobQuery:
        """Read a URL's query.

        Args:
            arguments: names and values, in order. `status` and `tag` may be repeated, and
                `status` may hold several with commas. Empty values count as not given.

        Raises:
            InvalidInput: naming the argument, its rule and the value received.
        """
        single, statuses, tags, params = _collect(arguments)
        sort = Sort.parse(single.get("sort", DEFAULT_SORT))
        cursor = single.get("cursor")
        return cls(
            JobFilter(
                status=tuple(_status(text) for text in statuses),
                words=tuple(single.get("q", "").split()),
                tags=tuple(tags),
                dataset=single.get("dataset"),
                model=single.get("model"),
                params=tuple(_param(path, text) for path, text in params),
            ),
            sort,
            parse_limit(single.get("limit")),
            Cursor.decode(cursor, sort) if cursor else None,
        )


def parse_limit(text: str | None, *, name: str = "limit", most: int = MAX_LIMIT) -> int:
    """Read a number of rows or lines; the default if there is none.

    Args:
        text: the argument's value.
        name: the argument's name, for the error.
        most: largest value.

    Raises:
        InvalidInput: it is no number between 1 and `most`.
    """
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise InvalidInput.of(name, f"Must be an integer from 1 to {most}.", text)
    return int(text)


@functools.cache
def spec_paths() -> frozenset[str]:
    """Return the dotted path of every single value that a spec may have."""
    return frozenset(_paths(JobSpec, ""))


def _is_number(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**63


def _fits(value: Any, column: str) -> bool:
    if value is None:
        return True
    if column in ("name", "status", "model", "dataset", "optimizer"):
        return isinstance(value, str)
    return isinstance(value, float) or _is_number(value)


_SINGLE = ("q", "dataset", "model", "sort", "limit", "cursor")
_Pairs = list[tuple[str, str]]


def _collect(
    arguments: Iterable[tuple[str, str]],
) -> tuple[dict[str, str], list[str], list[str], _Pairs]:
    single: dict[str, str] = {}
    statuses: list[str] = []
    tags: list[str] = []
    params: _Pairs = []
    for name, value in arguments:
        if len(value) > _MAX_TEXT * 5 or not _NO_CONTROL_CHARACTERS.fullmatch(value):
            raise InvalidInput.of(name, "Must be short, and without control characters.", value)
        if not value.strip():
            continue
        if name == "status":
            statuses += [part.strip() for part in value.split(",") if part.strip()]
        elif name == "tag":
            tags.append(value)
        elif name.startswith(_PARAM_PREFIX):
            params.append((name.removeprefix(_PARAM_PREFIX), value))
        elif name in _SINGLE:
            single[name] = value.strip()
        else:
            allowed = ", ".join((*_SINGLE, "status", "tag", "param.<path>"))
            raise InvalidInput.of(name, f"There is no such argument; there are: {allowed}.", value)
    return single, statuses, tags, params


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        raise InvalidInput.of("status", f"Must be one of: {', '.join(Status)}.", text) from None


def _param(path: str, text: str) -> tuple[str, Any]:
    """Read a value as JSON would, or else as a word: `0.9`, `true`, `sgd`."""
    if path not in spec_paths():
        rule = "There is no such field in a spec that holds a single value."
        raise InvalidInput.of(f"{_PARAM_PREFIX}{path}", rule, text)
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return path, text
    if isinstance(value, list | dict) or (isinstance(value, int) and abs(value) >= 2**63):
        raise InvalidInput.of(f"{_PARAM_PREFIX}{path}", "Must be a single value.", text)
    return path, value


def _paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        parts = list(_models(info.annotation))
        for part in parts:
            yield from _paths(part, f"{prefix}{name}.")
        if not parts:
            yield f"{prefix}{name}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    if get_origin(annotation) is list:
        return  # what stands in a list has no place of its own
    for part in get_args(annotation):
        yield from _models(part)
