"""How fast jobs start: on a warm worker, and one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import httpx

from tests.bench.figures import Figure, percentile
from tests.waiting import wait_until

_WARM_SECONDS = 120.0
_JOB_SECONDS = 600.0


def figures(client: httpx.Client, samples: int) -> Iterator[Figure]:
    """Measure on a running yard with one idle worker of one slot.

    Args:
        client: for the yard's `/api/v1`.
        samples: submissions to a warm worker.
    """
    starts = [_submit_to_first_step_seconds(client) for _ in range(samples)]
    yield Figure(
        "submit to first training step, idle warm worker, p95",
        percentile(starts, 95),
        "s",
        1.0,
        f"{samples} samples, p50 {median(starts):.2f} s, worst {max(starts):.2f} s",
    )
    claims, steps = _gaps(client)
    yield Figure(
        "gap between two queued jobs on one slot, worst",
        max(claims),
        "s",
        0.5,
        f"end of one to claim of the next, {len(claims)} gaps; "
        f"to its first step: median {median(steps):.2f} s, worst {max(steps):.2f} s",
    )
    yield _overhead(client)


def _submit_to_first_step_seconds(client: httpx.Client) -> float:
    _wait_until_warm(client)
    before = datetime.now(UTC)
    job_id = _submit(client, {})
    job = wait_until(lambda: _started(client, job_id), _JOB_SECONDS, what="first step")
    client.post(f"/jobs/{job_id}/cancel", json={}).raise_for_status()
    _wait_until_over(client, job_id)
    return (_time(job["first_step_at"]) - before).total_seconds()


def _gaps(client: httpx.Client) -> tuple[list[float], list[float]]:
    """Queue jobs that are long enough for the next trainer to warm up, as real ones are."""
    _wait_until_warm(client)
    ids = [_submit(client, {"epochs": 4}) for _ in range(4)]
    jobs = [_wait_until_over(client, job_id) for job_id in ids]
    pairs = list(pairwise(jobs))
    return (
        [_between(one["finished_at"], other["claimed_at"]) for one, other in pairs],
        [_between(one["finished_at"], other["first_step_at"]) for one, other in pairs],
    )


def _overhead(client: httpx.Client) -> Figure:
    """Return the share of a whole job, claimed to finished, that is no epoch's own time."""
    _wait_until_warm(client)
    job = _wait_until_over(client, _submit(client, {"early_stopping": {"kind": "none"}}))
    rows = client.get(f"/jobs/{job['id']}/epochs").raise_for_status().json()["items"]
    working = sum(row["seconds"] for row in rows)
    return Figure(
        "share of a job not spent training or evaluating",
        1 - working / job["duration_seconds"],
        "",
        0.02,
        f"{len(rows)} epochs of hello-world, {job['duration_seconds'] - working:.2f} s "
        f"of {job['duration_seconds']:.1f} s",
    )


def _submit(client: httpx.Client, spec: dict[str, Any]) -> int:
    answer = client.post("/jobs", json={"preset": "hello-world", "name": "bench", "spec": spec})
    return int(answer.raise_for_status().json()["id"])


def _started(client: httpx.Client, job_id: int) -> dict[str, Any] | None:
    job = _job(client, job_id)
    assert job["status"] in ("queued", "running"), job
    return job if job["first_step_at"] else None


def _wait_until_over(client: httpx.Client, job_id: int) -> dict[str, Any]:
    def over() -> dict[str, Any] | None:
        job = _job(client, job_id)
        return job if job["status"] not in ("queued", "running") else None

    return wait_until(over, _JOB_SECONDS, what=f"job {job_id} is over")


def _wait_until_warm(client: httpx.Client) -> None:
    def warm() -> bool:
        workers = client.get("/workers").raise_for_status().json()["items"]
        slots = [slot for worker in workers for slot in worker["slots"]]
        return bool(slots) and all(slot["warm"] and slot["job_id"] is None for slot in slots)

    wait_until(warm, _WARM_SECONDS)


def _job(client: httpx.Client, job_id: int) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
    return job


def _between(earlier: str, later: str) -> float:
    return (_time(later) - _time(earlier)).total_seconds()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
