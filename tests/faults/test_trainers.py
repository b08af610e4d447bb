"""Faults 19 and 25: trainers that end or hang in every way; the worker and its queue go on."""

from __future__ import annotations

import pytest

from shared.models import Outcome, Status
from tests.fake_trainer import Behaviour
from tests.history import check_history
from tests.worker_yard import Yard, trainer_of


@pytest.mark.parametrize(
    ("behaviour", "evidence"),
    [
        (Behaviour.SEGFAULTS, "SIGSEGV"),
        pytest.param(Behaviour.LEAVES, "exit code 0", marks=pytest.mark.slow),
        pytest.param(Behaviour.EXITS, "exit code 3", marks=pytest.mark.slow),
    ],
)
def test_a_trainer_that_ends_without_a_result(
    yard: Yard, behaviour: Behaviour, evidence: str
) -> None:
    job_id = yard.submit(behaviour)
    with yard.worker() as worker:
        job = yard.wait(job_id, Status.FAILED)
        yard.run_another()
        assert worker.poll() is None
    assert job.failure is not None
    assert evidence in job.failure["evidence"]
    assert job.crashes == job.max_attempts
    check_history(yard.database, yard.store)


@pytest.mark.parametrize(
    ("counts", "limit", "evidence"),
    [
        ("oom 1\noom_kill 1\n", "max", "The kernel has killed a process here"),
        ("oom_kill 0\n", "1000", "0 of 0 MiB of memory were left before that."),
    ],
    ids=["counted", "nothing left"],
)
def test_a_job_whose_trainer_the_kernel_kills_for_its_memory_is_told_so_and_not_tried_again(
    yard: Yard, counts: str, limit: str, evidence: str
) -> None:
    group = yard.folder / "group"
    group.mkdir()
    (group / "memory.events").write_text("oom_kill 0\n")
    (group / "memory.max").write_text(limit)
    (group / "memory.current").write_text("999")
    job_id = yard.submit()
    with yard.worker(fault=f"control_group:{group}") as worker:
        yard.wait_training(job_id)
        (group / "memory.events").write_text(counts)
        trainer_of(worker).kill()
        job = yard.wait(job_id, Status.FAILED)
    assert job.failure is not None
    assert job.failure["kind"] == "out_of_memory"
    assert "SIGKILL" in job.failure["evidence"]
    assert evidence in job.failure["evidence"]
    assert "batch" in job.failure["suggestion"]
    assert (job.attempt, job.crashes) == (1, 0)
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_job_that_reports_that_it_is_out_of_memory_is_not_tried_again(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.RUNS_OUT_OF_MEMORY)
    with yard.worker():
        job = yard.wait(job_id, Status.FAILED)
        yard.run_another()
    assert job.failure is not None
    assert job.failure["kind"] == "out_of_memory"
    assert (job.attempt, job.crashes) == (1, 0)
    check_history(yard.database, yard.store)


def test_a_machine_on_which_no_job_can_begin_leaves_the_queue_to_others(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.BREAKS)
    with yard.worker():
        yard.wait_log("w1", "Slot 0 rests for")
        yard.cancel(job_id)
        yard.run_another()
    assert yard.attempts(job_id)[0].outcome is Outcome.FAILED
    check_history(yard.database, yard.store)


def test_a_trainer_that_hangs_is_ended_and_its_job_tried_again(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.HANGS)
    yard.open_gate(1, 2, 3)
    with yard.worker(TRAINYARD_STALL_SECONDS="5"):
        yard.wait(job_id, Status.SUCCEEDED)
    first, second = yard.attempts(job_id)
    assert (first.outcome, second.outcome) == (Outcome.FAILED, Outcome.SUCCEEDED)
    assert "reported nothing for 5 s" in (first.detail or "")
    check_history(yard.database, yard.store)


@pytest.mark.slow
def test_a_trainer_that_prints_without_end_is_not_held_up(yard: Yard) -> None:
    job_id = yard.submit(Behaviour.SHOUTS)
    yard.open_gate(1, 2, 3)
    with yard.worker():
        yard.wait(job_id, Status.SUCCEEDED)
    check_history(yard.database, yard.store)
