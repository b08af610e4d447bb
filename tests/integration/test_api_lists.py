"""The list of jobs: every page exactly once and in order, whatever is filtered and sorted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from shared.database import Database
from shared.filters import JobQuery
from shared.models import SORTABLE, Status
from shared.queries import count_by_status, count_up_to, list_jobs
from tests.web_client import add_job, add_jobs, job_values, json_of

WORDS = ("alpha", "bravo", "charlie", "100% sure", "a_b", "back\\slash")
TAGS = ("lr", "l", 'q"uote', "ümlaut", "50%")


def random_job(draw: random.Random) -> dict[str, Any]:
    """Draw a job whose values are often equal to others', and often missing."""
    figure = draw.choice([None, None, 0.5, 0.75, 0.9, draw.random()])
    momentum = draw.choice([0.0, 0.5, 0.9])
    spec = job_values()["spec"]
    return {
        "name": draw.choice(WORDS),
        "status": draw.choice(list(Status)),
        "tags": draw.sample(TAGS, draw.randrange(3)),
        "model": draw.choice(["mlp", "lenet5"]),
        "dataset": draw.choice(["mnist", "fashion_mnist"]),
        "optimizer": draw.choice(["sgd", "adam"]),
        "learning_rate": draw.choice([0.1, 0.001]),
        "batch_size": draw.choice([32, 64]),
        "epochs_done": draw.randrange(3),
        "best_eval_accuracy": figure,
        "final_train_accuracy": figure,
        "final_eval_accuracy": figure,
        "final_eval_loss": figure,
        "test_accuracy": figure,
        "duration_seconds": draw.choice([None, 1.5, 60.0]),
        "spec": spec | {"optimizer": {"kind": "sgd", "momentum": momentum, "nesterov": False}},
    }


@pytest.fixture
def rows(database: Database) -> list[dict[str, Any]]:
    """A few hundred jobs, oldest first."""
    draw = random.Random(20260101)
    rows = [random_job(draw) for _ in range(300)]
    return [
        row | {"id": job_id} for job_id, row in zip(add_jobs(database, rows), rows, strict=True)
    ]


def in_order(rows: list[dict[str, Any]], sort: str) -> list[int]:
    """Sort as the list promises, the plain way: what has no value comes last."""
    column, down = sort.removeprefix("-"), sort.startswith("-")
    present = [row for row in rows if row[column] is not None]
    missing = [row for row in rows if row[column] is None]
    present.sort(key=lambda row: (row[column], row["id"]), reverse=down)
    missing.sort(key=lambda row: row["id"], reverse=down)
    return [row["id"] for row in present + missing]


def pages(database: Database, *arguments: tuple[str, str]) -> Iterator[list[int]]:
    """Yield the numbers on each page."""
    cursor: str | None = ""
    while cursor is not None:
        with database.read() as session:
            page = list_jobs(session, JobQuery.parse([*arguments, ("cursor", cursor)]))
        yield [job.id for job in page.jobs]
        cursor = page.next_cursor


def all_of(database: Database, *arguments: tuple[str, str]) -> list[int]:
    return [job_id for page in pages(database, *arguments) for job_id in page]


def test_pages_hold_every_job_once_and_in_order(
    database: Database, rows: list[dict[str, Any]]
) -> None:
    for sort in (sign + name for name in SORTABLE for sign in ("", "-")):
        for limit in (7, 50, 200):
            found = list(pages(database, ("sort", sort), ("limit", str(limit))))
            assert [job_id for page in found for job_id in page] == in_order(rows, sort), sort
            assert all(len(page) == limit for page in found[:-1]), sort


MATCHES: list[tuple[str, str, Callable[[dict[str, Any]], bool]]] = [
    ("status", "failed", lambda row: row["status"] == "failed"),
    ("status", "failed,queued", lambda row: row["status"] in ("failed", "queued")),
    ("model", "mlp", lambda row: row["model"] == "mlp"),
    ("dataset", "mnist", lambda row: row["dataset"] == "mnist"),
    ("model", "nothing", lambda _row: False),
    ("q", "BRAV", lambda row: row["name"] == "bravo"),
    ("q", "0%", lambda row: row["name"] == "100% sure"),
    ("q", "a_", lambda row: row["name"] == "a_b"),
    ("q", "sure 100", lambda row: row["name"] == "100% sure"),
    ("q", "k\\s", lambda row: row["name"] == "back\\slash"),
    ("q", "#17", lambda row: row["id"] == 17),
    ("tag", "l", lambda row: "l" in row["tags"]),
    ("tag", "L", lambda _row: False),
    ("tag", 'q"uote', lambda row: 'q"uote' in row["tags"]),
    ("tag", "ümlaut", lambda row: "ümlaut" in row["tags"]),
    ("tag", "50%", lambda row: "50%" in row["tags"]),
    ("param.optimizer.kind", "adam", lambda row: row["optimizer"] == "adam"),
    ("param.learning_rate", "0.001", lambda row: row["learning_rate"] == 0.001),
    ("param.learning_rate", "fast", lambda _row: False),
    ("param.batch_size", "true", lambda _row: False),
    ("param.optimizer.momentum", "0.5", lambda row: row["spec"]["optimizer"]["momentum"] == 0.5),
    ("param.optimizer.momentum", "0", lambda row: row["spec"]["optimizer"]["momentum"] == 0),
    ("param.optimizer.nesterov", "false", lambda _row: True),
    ("param.optimizer.nesterov", "true", lambda _row: False),
    ("param.preprocessing.scale", "raw", lambda _row: True),
    ("param.preprocessing.scale", "1", lambda _row: False),
    ("param.resources.max_runtime_seconds", "null", lambda _row: True),
]


def test_a_filter_finds_what_matches_and_nothing_else(
    database: Database, rows: list[dict[str, Any]]
) -> None:
    for name, value, matches in MATCHES:
        expected = [row for row in rows if matches(row)]
        for sort in ("-id", "-best_eval_accuracy", "name"):
            found = all_of(database, (name, value), ("sort", sort), ("limit", "20"))
            assert found == in_order(expected, sort), (name, value, sort)


def test_tags_are_found_in_more_sets_than_are_told_apart(
    database: Database, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.queries._TAG_SETS", 3)
    for name, value, matches in MATCHES:
        if name == "tag":
            expected = [row for row in rows if matches(row)]
            found = all_of(database, (name, value), ("sort", "name"), ("limit", "20"))
            assert found == in_order(expected, "name"), value


def test_filters_together_narrow_the_list(database: Database, rows: list[dict[str, Any]]) -> None:
    draw = random.Random(7)
    for _ in range(30):
        chosen = draw.sample(MATCHES, 3)
        expected = [row for row in rows if all(matches(row) for _, _, matches in chosen)]
        if (
            len({name for name, _, _ in chosen} - {"tag"}) + sum(n == "tag" for n, _, _ in chosen)
            < 3
        ):
            continue  # the same argument twice
        sort = draw.choice(["", "-"]) + draw.choice(SORTABLE)
        found = all_of(
            database, *((name, value) for name, value, _ in chosen), ("sort", sort), ("limit", "9")
        )
        assert found == in_order(expected, sort), chosen


def test_filters_that_leave_many_jobs_find_them_too(database: Database) -> None:
    ids = add_jobs(
        database,
        [
            {"name": f"n{i % 7}", "tags": ["common"], "best_eval_accuracy": i % 5}
            for i in range(1200)
        ],
    )
    found = all_of(
        database,
        ("tag", "common"),
        ("status", "queued"),
        ("sort", "-best_eval_accuracy"),
        ("limit", "200"),
    )
    rows = [{"id": job_id, "best_eval_accuracy": i % 5} for i, job_id in enumerate(ids)]
    assert found == in_order(rows, "-best_eval_accuracy")


def test_jobs_that_come_while_one_turns_pages_disturb_nothing(database: Database) -> None:
    first = add_jobs(database, [{} for _ in range(10)])
    walk = pages(database, ("limit", "4"))
    found = next(walk)
    add_jobs(database, [{} for _ in range(5)])
    found += [job_id for page in walk for job_id in page]
    assert found == first[::-1]


def test_jobs_are_counted_by_status(database: Database, rows: list[dict[str, Any]]) -> None:
    with database.read() as session:
        counts = count_by_status(session)
        failed = JobQuery.parse([("status", "failed")]).filter
        assert count_up_to(session, failed, 1000) == counts["failed"]
        assert count_up_to(session, failed, 3) == 3
    assert counts == {s.value: sum(row["status"] is s for row in rows) for s in Status}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [("status", "failed")],
        [("status", "failed"), ("sort", "-best_eval_accuracy")],
        [("model", "mlp"), ("dataset", "mnist"), ("sort", "name")],
        [("q", "needle"), ("sort", "-duration_seconds")],
    ],
)
def test_on_sqlite_one_index_answers(
    sqlite_url: str, arguments: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.queries._FEW", 3)
    database = Database(sqlite_url)
    add_jobs(database, [{"status": Status.FAILED, "model": "mlp"} for _ in range(10)])
    plans: list[str] = []

    @sa.event.listens_for(database.engine, "before_cursor_execute")
    def explain(
        connection: sa.Connection, _cursor: Any, statement: str, values: Any, *_: Any
    ) -> None:
        if statement.startswith("SELECT jobs.id, jobs.") and "INDEXED BY" in statement:
            raw = connection.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            plans.extend(row[3] for row in raw.fetchall())
            raw.close()

    all_of(database, *arguments)
    database.dispose()
    assert plans
    for plan in plans:
        assert "COVERING INDEX ix_jobs_by_" in plan, plans


def test_the_api_lists_what_the_query_finds(client: FlaskClient, database: Database) -> None:
    add_job(database, name="first", tags=["a"])
    second = add_job(database, name="second", status=Status.FAILED, tags=["a", "b"])
    third = add_job(database, name="third", status=Status.FAILED, tags=["a"])
    answer = json_of(client.get("/api/v1/jobs?status=failed&tag=a&sort=-name&limit=1"))
    assert [item["id"] for item in answer["items"]] == [third]
    assert "spec" not in answer["items"][0]
    url = f"/api/v1/jobs?status=failed&tag=a&sort=-name&limit=1&cursor={answer['next_cursor']}"
    answer = json_of(client.get(url))
    assert [item["name"] for item in answer["items"]] == ["second"]
    assert answer["next_cursor"] is None
    both = json_of(client.get("/api/v1/jobs?tag=a&tag=b"))
    assert [item["id"] for item in both["items"]] == [second]


BAD_ARGUMENTS = {
    "status=done": "status",
    "sort=spec": "sort",
    "limit=0": "limit",
    "limit=many": "limit",
    "cursor=abc": "cursor",
    "colour=red": "colour",
    "param.no.such=1": "param.no.such",
    "q=%00": "q",
    "owner=me": "owner",
}


def test_a_bad_argument_is_named(client: FlaskClient) -> None:
    for query, field in BAD_ARGUMENTS.items():
        answer = client.get(f"/api/v1/jobs?{query}")
        assert answer.status_code == 422, query
        assert [error["field"] for error in json_of(answer)["errors"]] == [field]


def test_odd_characters_are_only_characters(client: FlaskClient, database: Database) -> None:
    add_job(database)
    names = ("q", "tag", "model", "dataset", "param.dataset.name", "param.preprocessing.scale")
    for value in ("'", '"', "\\", "%", "_", "é", "\U0001f682", "[", "$.a", "--", ";"):
        for name in names:
            answer = client.get("/api/v1/jobs", query_string={name: value})
            assert answer.status_code == 200, (name, value, answer.text)
            assert json_of(answer)["items"] == [], (name, value)
