"""The recorder writes in order, waits for SQL, and stops when the lease is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from shared.errors import LeaseLost
from worker.recorder import Recorder


class Outage:
    """A database that is away for the first few writes."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    @contextmanager
    def write(self) -> Iterator[None]:
        """Fail, or give a session that no test here looks at."""
        if self.failures > 0:
            self.failures -= 1
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))
        yield


@pytest.fixture
def lost() -> threading.Event:
    return threading.Event()


def recorder(lost: threading.Event, failures: int = 0) -> Recorder:
    return Recorder(Outage(failures), lost.set)  # type: ignore[arg-type]


def test_writes_come_in_order_although_sql_was_away(lost: threading.Event) -> None:
    written: list[int] = []
    it = recorder(lost, failures=2)
    for number in range(5):
        it.put(lambda _, number=number: written.append(number))  # type: ignore[misc]

    assert it.close(timeout_seconds=20)
    assert written == [0, 1, 2, 3, 4]
    assert not lost.is_set()


def test_what_follows_a_write_is_called_after_it(lost: threading.Event) -> None:
    order: list[str] = []
    it = recorder(lost, failures=1)
    it.put(lambda _: order.append("write"), then=lambda: order.append("then"))

    assert it.close(timeout_seconds=20)
    assert order == ["write", "then"]


def test_nothing_is_written_after_the_lease_is_lost(lost: threading.Event) -> None:
    written: list[int] = []

    def refused(_: Session) -> None:
        raise LeaseLost("gone")

    it = recorder(lost)
    it.put(refused)
    it.put(lambda _: written.append(1))

    assert it.close(timeout_seconds=20)
    assert lost.is_set()
    assert written == []


def test_a_record_that_sql_refuses_for_good_ends_the_recording(lost: threading.Event) -> None:
    def refused(_: Session) -> None:
        raise ProgrammingError("INSERT", {}, Exception("no such column"))

    it = recorder(lost)
    it.put(refused)

    assert it.close(timeout_seconds=20)
    assert isinstance(it.error, ProgrammingError)
    assert not lost.is_set()


def test_abandoning_ends_the_wait_for_sql(lost: threading.Event) -> None:
    written: list[int] = []
    it = recorder(lost, failures=1_000_000)
    it.put(lambda _: written.append(1))
    it.abandon()

    assert it.close(timeout_seconds=20)
    assert written == []
