"""Figures for Prometheus: the yard's, read when asked, and this process's requests.

Owns the names of the metrics. A registry of its own for every app: nothing global.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import sqlalchemy as sa
from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.models import Job, Status, Worker
from shared.workers import is_alive
from web.yard import Yard

MEDIA_TYPE = CONTENT_TYPE_LATEST
_KEY = "metrics"
_BUCKETS = (0.002, 0.005, 0.01, 0.015, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.5, 10.0)

log = logging.getLogger(__name__)


class Requests:
    """Counts and times the requests that this process has served."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count = Counter(
            "trainyard_http_requests",
            "Requests served, by route, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "trainyard_http_request_seconds",
            "Time from a request's arrival to its response's headers, by route.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def note(self, response: Response) -> Response:
        """Count the request that `response` answers."""
        route = request.url_rule.rule if request.url_rule else "(none)"
        method = request.method if request.url_rule else "(any)"  # bounded, whatever is sent
        self._count.labels(route, method, response.status_code).inc()
        if "began" in g:
            self._seconds.labels(route).observe(time.perf_counter() - g.began)
        return response


def init_app(app: Flask) -> None:
    """Count the app's requests."""
    requests = Requests()
    app.extensions[_KEY] = requests
    app.before_request(_begin)
    app.after_request(requests.note)


def exposition(yard: Yard) -> bytes:
    """Return all figures in Prometheus's text format."""
    requests: Requests = current_app.extensions[_KEY]
    figures = CollectorRegistry()
    figures.register(_Figures(yard))
    return generate_latest(figures) + generate_latest(requests.registry)


def _begin() -> None:
    g.began = time.perf_counter()


class _Figures:
    """The yard's figures, as SQL has them now."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard

    def collect(self) -> Iterator[Metric]:
        """Yield the figures; without a database only those that need none."""
        yield _gauge("trainyard_live_streams", "Open event streams.", self._yard.live.open_streams)
        try:
            with self._yard.database.read() as session:
                figures = [*self._jobs(session), *self._workers(session)]
        except SQLAlchemyError as error:
            log.warning("Metrics lack the yard's figures: %s", error)
            figures = []
        yield _gauge("trainyard_database_up", "Whether SQL answers.", int(bool(figures)))
        yield from figures

    def _jobs(self, session: Session) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("trainyard_jobs", "Jobs by status.", labels=["status"])
        for status, number in self._yard.counts.read(session).items():
            jobs.add_metric([status], number)
        yield jobs
        waiting = GaugeMetricFamily(
            "trainyard_queue_waiting", "Jobs that wait, by queue.", labels=["queue"]
        )
        rows = session.execute(
            sa.select(Job.queue, sa.func.count())
            .where(Job.status == Status.QUEUED)
            .group_by(Job.queue)
        )
        for queue, number in rows:
            waiting.add_metric([queue], number)
        yield waiting

    def _workers(self, session: Session) -> Iterator[Metric]:
        alive = is_alive(self._yard.settings.lease_seconds)
        slots = session.scalars(sa.select(Worker.slots).where(alive)).all()
        busy = sum(slot.get("job_id") is not None for one in slots for slot in one)
        yield _gauge("trainyard_workers_alive", "Workers with a fresh heartbeat.", len(slots))
        yield _gauge("trainyard_slots", "Slots of live workers.", sum(map(len, slots)))
        yield _gauge("trainyard_slots_busy", "Slots of live workers that run a job.", busy)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=value)
