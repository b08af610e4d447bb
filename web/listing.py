"""What the list of jobs shows: the URL's filters, a page of jobs, counts for the tabs.

Owns the list's addresses, so that every state of the list can be shared and gone back to. Must
not query by itself: `shared.queries` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from sqlalchemy.orm import Session

from shared import catalogue, queries
from shared.filters import DEFAULT_SORT, JobFilter, JobQuery
from shared.models import SORTABLE, Status
from shared.records import job_item
from shared.waiting import Wait
from web.fields import kinds

# More matching jobs than this are shown as "1,000+": nobody needs to know how many more.
COUNT_LIMIT = 1000
_SORT_WORDS = {"id": "age", "best_eval_accuracy": "best accuracy", "duration_seconds": "duration"}


@dataclass(frozen=True)
class JobsView:
    """One page of the list, and where one can go from it.

    Attributes:
        arguments: the URL's filters, as they came.
        sort: column, with `-` in front for descending.
        paged: whether this is not the first page.
        jobs: list items.
        waits: why those wait that do, by number.
        next_cursor: where the next page starts, if there is one.
        counts: jobs by tab, the empty name for all; with filters, only the shown tab's.
        models, datasets: what can be filtered by.
    """

    arguments: tuple[tuple[str, str], ...]
    sort: str
    paged: bool
    jobs: list[dict[str, Any]]
    waits: dict[int, Wait]
    next_cursor: str | None
    counts: dict[str, int]
    models: list[str]
    datasets: list[str]

    @classmethod
    def load(
        cls,
        session: Session,
        arguments: Iterable[tuple[str, str]],
        totals: dict[str, int],
        explain: Callable[..., dict[int, Wait]],
    ) -> JobsView:
        """Read the page that the URL's arguments ask for.

        Args:
            session: for reading.
            arguments: names and values of the URL's query.
            totals: all jobs, by status.
            explain: tells why jobs wait; asked only if one is shown that does.

        Raises:
            InvalidInput: an argument is not allowed; names it.
        """
        pairs = tuple((name, value) for name, value in arguments if value.strip())
        query = JobQuery.parse(pairs)
        page = queries.list_jobs(session, query)
        waits = any(job.status is Status.QUEUED for job in page.jobs)
        filters = tuple(pair for pair in pairs if pair[0] not in ("sort", "cursor", "limit"))
        return cls(
            arguments=filters,
            sort=str(query.sort),
            paged=query.cursor is not None,
            jobs=[job_item(job) for job in page.jobs],
            waits=explain() if waits else {},
            next_cursor=page.next_cursor,
            counts=_counts(session, query.filter, dict(filters).get("status", ""), totals),
            models=kinds("model"),
            datasets=[dataset.name for dataset, _ in catalogue.newest(session)],
        )

    def value(self, name: str) -> str:
        """Return a filter's value, empty if it is not set."""
        return dict(self.arguments).get(name, "")

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """Filters without a control of their own, as name, value and the address without them."""
        own = ("status", "q", "model", "dataset")
        return [
            (name.removeprefix("param."), value, self.url(**{name: ""}))
            for name, value in self.arguments
            if name not in own
        ]

    @property
    def sortable(self) -> tuple[str, ...]:
        """The columns that the list can be sorted by."""
        return SORTABLE

    @property
    def sort_words(self) -> str:
        """The order in words."""
        column = self.sort.removeprefix("-")
        words = _SORT_WORDS.get(column, column.replace("_", " "))
        return f"sorted by {words}, {'descending' if self.sort.startswith('-') else 'ascending'}"

    def url(self, **changes: str) -> str:
        """Return the list's address with some arguments changed, from its first page.

        Args:
            **changes: arguments by name; an empty value takes one away.
        """
        changes = {"sort": self.sort, **changes}
        if changes["sort"] == DEFAULT_SORT:
            changes["sort"] = ""
        kept = [pair for pair in self.arguments if pair[0] not in changes]
        kept += [(name, value) for name, value in changes.items() if value]
        return f"/?{urlencode(kept)}" if kept else "/"


def _counts(
    session: Session, job_filter: JobFilter, tab: str, totals: dict[str, int]
) -> dict[str, int]:
    """Count for the tabs: all of them, unless a filter makes that slow."""
    if replace(job_filter, status=()) != JobFilter():
        return {tab: queries.count_up_to(session, job_filter, COUNT_LIMIT)}
    return {"": sum(totals.values()), **totals}
