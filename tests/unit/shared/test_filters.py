"""The words of the list's URL: filters, order, cursors."""

from __future__ import annotations

import base64
import json

import pytest

from shared.errors import InvalidInput
from shared.filters import SORTS, Cursor, JobQuery, Sort, spec_paths
from shared.models import SORTABLE, Status


def test_an_empty_url_asks_for_the_newest_jobs() -> None:
    query = JobQuery.parse([])
    assert query.sort == Sort("id", descending=True)
    assert query.limit == 50
    assert query.cursor is None


def test_filters_are_read() -> None:
    query = JobQuery.parse(
        [("status", "failed,cancelled"), ("status", "running"), ("q", " two  words "),
         ("tag", "a b"), ("tag", "c"), ("dataset", "mnist"), ("model", "mlp"),
         ("param.optimizer.momentum", "0.9"), ("param.optimizer.kind", "sgd"),
         ("param.optimizer.nesterov", "true"), ("param.resources.max_runtime_seconds", "null"),
         ("limit", "7"), ("sort", "name")]
    )  # fmt: skip
    assert query.filter.status == (Status.FAILED, Status.CANCELLED, Status.RUNNING)
    assert query.filter.words == ("two", "words")
    assert query.filter.tags == ("a b", "c")
    assert (query.filter.dataset, query.filter.model) == ("mnist", "mlp")
    assert query.filter.params == (
        ("optimizer.momentum", 0.9),
        ("optimizer.kind", "sgd"),
        ("optimizer.nesterov", True),
        ("resources.max_runtime_seconds", None),
    )
    assert query.limit == 7
    assert query.sort == Sort("name", descending=False)


def test_empty_values_count_as_not_given() -> None:
    empty = [("status", ""), ("q", " "), ("tag", ""), ("model", ""), ("sort", ""), ("cursor", "")]
    assert JobQuery.parse(empty) == JobQuery.parse([])


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("status", "done", "status"),
        ("status", "failed,done", "status"),
        ("sort", "spec", "sort"),
        ("sort", "--id", "sort"),
        ("limit", "0", "limit"),
        ("limit", "201", "limit"),
        ("limit", "-1", "limit"),
        ("limit", "1e2", "limit"),
        ("limit", "9" * 30, "limit"),
        ("limit", "²", "limit"),
        ("cursor", "x", "cursor"),
        ("param.optimiser.kind", "sgd", "param.optimiser.kind"),
        ("param.optimizer", "sgd", "param.optimizer"),
        ("param.", "sgd", "param."),
        ("param.model.filters", "[1]", "param.model.filters"),
        ("param.seed", "9" * 25, "param.seed"),
        ("colour", "red", "colour"),
        ("q", "a\x00b", "q"),
        ("q", "x" * 2000, "q"),
        ("tag", "\ud800", "tag"),
    ],
)
def test_what_is_not_allowed_is_named(name: str, value: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        JobQuery.parse([(name, value)])
    assert [error.field for error in caught.value.errors] == [field]
    assert caught.value.errors[0].rule


def test_every_sortable_column_can_be_asked_for_both_ways() -> None:
    assert set(SORTS) >= set(SORTABLE)
    for name in SORTS:
        assert Sort.parse(name).descending is False
        assert Sort.parse(f"-{name}").descending is True


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("best_eval_accuracy", 0.1 + 0.2),
        ("best_eval_accuracy", None),
        ("name", "ü\n\"'"),
        ("id", 7),
    ],
)
def test_a_cursor_comes_back_as_it_was(column: str, value: str | float | None) -> None:
    cursor = Cursor(Sort(column, descending=True), value, 2**63 - 1)
    assert Cursor.decode(cursor.encode(), cursor.sort) == cursor
    assert JobQuery.parse([("sort", f"-{column}"), ("cursor", cursor.encode())]).cursor == cursor


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    ["!", "AAAA", "ä", encoded([]), encoded(7), encoded(["-id", 1]), encoded(["-id", 1, "1"]),
     encoded(["-id", 1, True]), encoded(["-id", 1, 2**63]), encoded(["-id", 10**30, 1]),
     encoded(["-id", "x", 1]), encoded(["-id", [1], 1]), encoded(["-name", "x", 1])],
)  # fmt: skip
def test_a_cursor_that_we_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Cursor.decode(text, Sort("id", descending=True))
    assert caught.value.errors[0].field == "cursor"


def test_a_cursor_of_another_order_is_refused() -> None:
    cursor = Cursor(Sort("name", descending=True), "x", 7)
    with pytest.raises(InvalidInput):
        Cursor.decode(cursor.encode(), Sort("name", descending=False))


def test_every_value_of_a_spec_has_a_path() -> None:
    assert {
        "learning_rate", "model.kind", "model.filters", "model.blocks", "optimizer.momentum",
        "optimizer.beta_1", "early_stopping.patience", "resources.queue", "dataset.name",
    } <= spec_paths()  # fmt: skip
    assert "model" not in spec_paths()
