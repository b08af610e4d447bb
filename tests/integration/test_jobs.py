"""The life of a job in SQL, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared import catalogue, jobs, recording
from shared.database import Database, utc_now
from shared.errors import Conflict, InvalidInput, LeaseLost, NotFound
from shared.gauges import Point
from shared.jobs import Lease, Slot
from shared.models import Artifact, Attempt, Epoch, Gauge, Job, JobEvent, Outcome, Status
from shared.protocol import Checkpoint, Finished, Progress
from shared.protocol import Epoch as EpochEvent
from shared.spec import parse_submission
from shared.spec.job import DatasetRef
from tests.history import check_history

SLOT = Slot("w1", 0, ("default",))
# What may pass between two statements of a test, on a machine that does much else.
MACHINE_SECONDS = 9
FAILURE = {"kind": "diverged", "evidence": "Loss is NaN.", "suggestion": "Lower the rate."}


@pytest.fixture
def yard(database: Database) -> Database:
    with database.write() as session:
        catalogue.register_bundled(session)
    return database


def submit(database: Database, key: str | None = None, **body: Any) -> int:
    submission = parse_submission(body)
    with database.write() as session:
        version = catalogue.resolve(session, submission.spec.dataset)
        job, _ = jobs.submit(
            session,
            submission,
            dataset_version=version,
            max_attempts=3,
            idempotency_key=key,
        )
        return job.id


def claim(database: Database, slot: Slot = SLOT, lease_seconds: float = 20) -> Lease | None:
    with database.write() as session:
        return jobs.claim(session, slot, lease_seconds=lease_seconds)


def must_claim(database: Database, slot: Slot = SLOT, lease_seconds: float = 20) -> Lease:
    lease = claim(database, slot, lease_seconds)
    assert lease is not None
    return lease


def job_of(database: Database, job_id: int) -> Job:
    with database.read() as session:
        return jobs.get(session, job_id)


def kinds(database: Database, job_id: int) -> list[str]:
    with database.read() as session:
        return list(
            session.scalars(
                sa.select(JobEvent.kind).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
            )
        )


def epoch_event(number: int, eval_accuracy: float = 0.5, *, replayed: bool = False) -> EpochEvent:
    return EpochEvent(
        epoch=number,
        train_accuracy=0.25,
        train_loss=1.0,
        eval_accuracy=eval_accuracy,
        eval_loss=0.5,
        learning_rate=0.001,
        seconds=2.0,
        images_per_second=100.0,
        replayed=replayed,
    )


def finished_event() -> dict[str, Any]:
    return Finished(
        reason="epochs_done",
        detail="All 1 epochs are done.",
        best_epoch=1,
        weights_epoch=1,
        weights_sha256="ab",
        test_accuracy=0.75,
        test_loss=0.1,
    ).model_dump(mode="json")


def expire(database: Database, lease: Lease) -> None:
    """Let a lease run out, as if its worker had been silent for long."""
    with database.write() as session:
        session.execute(
            sa.update(Attempt)
            .where(Attempt.job_id == lease.job_id, Attempt.number == lease.attempt)
            .values(lease_expires_at=utc_now(-1))
        )


def test_a_submitted_job_is_queued_with_its_figures_and_pinned_data(yard: Database) -> None:
    job = job_of(yard, submit(yard, preset="hello-world", tags=["a"]))

    assert (job.status, job.name, job.model, job.optimizer) == (
        Status.QUEUED,
        "hello-world",
        "shallow_cnn",
        "sgd",
    )
    assert (job.learning_rate, job.batch_size, job.epochs_total) == (0.001, 100, 10)
    assert job.spec["dataset"]["version"] == job.dataset_version
    assert len(job.dataset_version) == 64
    assert job.submitted_at.tzinfo is not None
    assert kinds(yard, job.id) == ["submitted"]


def test_an_unknown_data_set_or_version_is_named(yard: Database) -> None:
    with yard.read() as session:
        with pytest.raises(InvalidInput, match=r"spec.dataset.name: .*known data set: mnist"):
            catalogue.resolve(session, DatasetRef(name="nope"))
        with pytest.raises(InvalidInput, match=r"spec.dataset.version"):
            catalogue.resolve(session, DatasetRef(name="mnist", version="0" * 12))


def test_claims_go_by_priority_and_then_by_age(yard: Database) -> None:
    first = submit(yard)
    second = submit(yard)
    urgent = submit(yard, priority=5)

    order = [must_claim(yard).job_id for _ in range(3)]

    assert order == [urgent, first, second]
    assert claim(yard) is None


def test_a_slot_takes_only_what_it_can_run(yard: Database) -> None:
    elsewhere = submit(yard, spec={"resources": {"queue": "big"}})
    needs_gpu = submit(yard, spec={"resources": {"gpus": 1}})

    assert claim(yard) is None
    assert must_claim(yard, Slot("w2", 0, ("default", "big"))).job_id == elsewhere
    assert must_claim(yard, Slot("w3", 0, ("default",), gpus=1)).job_id == needs_gpu


def test_a_slot_takes_no_job_that_needs_more_gpus_than_it_has(yard: Database) -> None:
    needs_three = submit(yard, spec={"resources": {"gpus": 3}})
    needs_two = submit(yard, spec={"resources": {"gpus": 2}})

    assert must_claim(yard, Slot("w1", 0, ("default",), gpus=2)).job_id == needs_two
    assert claim(yard, Slot("w1", 0, ("default",), gpus=2)) is None
    assert must_claim(yard, Slot("w2", 0, ("default",), gpus=4)).job_id == needs_three


def test_one_job_is_claimed_once_however_many_ask_at_once(yard: Database) -> None:
    submit(yard)
    barrier = threading.Barrier(10)
    leases: list[Lease | None] = []

    def ask(index: int) -> None:
        barrier.wait()
        leases.append(claim(yard, Slot(f"w{index}", 0, ("default",))))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(leases) == 10
    assert len([lease for lease in leases if lease is not None]) == 1
    check_history(yard)


def test_a_success_is_accepted_once_with_all_its_figures(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        recording.epoch(session, lease, epoch_event(1))
        jobs.succeed(session, lease, result=finished_event(), detail="All 1 epochs are done.")

    job = job_of(yard, job_id)
    assert (job.status, job.epochs_done, job.test_accuracy) == (Status.SUCCEEDED, 1, 0.75)
    assert job.duration_seconds is not None
    assert kinds(yard, job_id) == ["submitted", "claimed", "succeeded"]
    with pytest.raises(LeaseLost), yard.write() as session:
        jobs.succeed(session, lease, result=finished_event(), detail="again")
    check_history(yard)


def test_who_lost_the_lease_can_write_nothing(yard: Database) -> None:
    job_id = submit(yard)
    old = must_claim(yard)
    expire(yard, old)
    with yard.write() as session:
        assert jobs.expire_leases(session) == [old]
    new = must_claim(yard, Slot("w2", 0, ("default",)))
    assert (new.job_id, new.attempt) == (job_id, 2)

    writes: list[Callable[[Session], object]] = [
        lambda s: jobs.renew(s, old, lease_seconds=20),
        lambda s: recording.epoch(s, old, epoch_event(1)),
        lambda s: recording.first_step(s, old, Progress(phase="train", epoch=1, step=1, steps=2)),
        lambda s: recording.gauges(s, old, [Point(old.attempt, 2, 2.0, cpu_percent=80.0)]),
        lambda s: jobs.succeed(s, old, result=finished_event(), detail=""),
        lambda s: jobs.fail(s, old, failure=FAILURE),
        lambda s: jobs.cancel(s, old),
        lambda s: jobs.give_back(s, old, detail=""),
        lambda s: jobs.crash(s, old, failure=FAILURE),
    ]
    for write in writes:
        with pytest.raises(LeaseLost), yard.write() as session:
            write(session)
    with pytest.raises(LeaseLost), yard.read() as session:
        jobs.requests(session, old)

    job = job_of(yard, job_id)
    assert (job.status, job.epochs_done, job.crashes) == (Status.RUNNING, 0, 1)
    check_history(yard)


def test_a_guessed_token_holds_no_lease(yard: Database) -> None:
    submit(yard)
    lease = must_claim(yard)

    with pytest.raises(LeaseLost), yard.write() as session:
        jobs.hold(session, Lease(lease.job_id, lease.attempt, "0" * 32))


def test_a_live_lease_does_not_expire(yard: Database) -> None:
    submit(yard)
    lease = must_claim(yard, lease_seconds=0.001)
    with yard.write() as session:
        jobs.renew(session, lease, lease_seconds=60, progress={"step": 3})
    with yard.write() as session:
        assert jobs.expire_leases(session) == []
    assert job_of(yard, lease.job_id).progress == {"step": 3}


def test_a_job_is_given_up_after_too_many_losses(yard: Database) -> None:
    job_id = submit(yard)
    for _ in range(3):
        expire(yard, must_claim(yard))
        with yard.write() as session:
            jobs.expire_leases(session)

    job = job_of(yard, job_id)
    assert (job.status, job.crashes) == (Status.FAILED, 3)
    assert job.failure is not None
    assert job.failure["kind"] == "lost"
    assert kinds(yard, job_id)[-2:] == ["lost", "failed"]
    check_history(yard)


def ran(database: Database, lease: Lease, *, ago: float, seconds: float) -> None:
    """Let an attempt have been claimed `ago`, and have run from then for `seconds`."""
    with database.write() as session:
        session.execute(
            sa.update(Attempt)
            .where(Attempt.job_id == lease.job_id, Attempt.number == lease.attempt)
            .values(
                claimed_at=utc_now(-ago),
                heartbeat_at=utc_now(seconds - ago),
                ended_at=sa.case((Attempt.ended_at.is_(None), None), else_=utc_now(seconds - ago)),
            )
        )


def test_a_jobs_duration_is_the_time_that_its_attempts_ran(yard: Database) -> None:
    job_id = submit(yard)
    first = must_claim(yard)
    with yard.write() as session:
        jobs.request_pause(session, job_id)
        jobs.pause(session, first, detail="Saved.")
    ran(yard, first, ago=11_000, seconds=100)
    with yard.write() as session:
        jobs.resume(session, job_id)
    second = must_claim(yard)
    ran(yard, second, ago=50, seconds=50)
    with yard.write() as session:
        jobs.succeed(session, second, result=finished_event(), detail="Done.")
    assert job_of(yard, job_id).duration_seconds == pytest.approx(150, abs=MACHINE_SECONDS)


def test_a_job_given_up_has_run_until_its_last_sign_of_life(yard: Database) -> None:
    job_id = submit(yard)
    for _ in range(3):
        lease = must_claim(yard)
        ran(yard, lease, ago=5000, seconds=100)
        expire(yard, lease)
        with yard.write() as session:
            jobs.expire_leases(session)
    job = job_of(yard, job_id)
    assert job.status is Status.FAILED
    assert job.duration_seconds == pytest.approx(300, abs=MACHINE_SECONDS)


def test_a_job_cancelled_between_two_attempts_has_run_for_the_first(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    ran(yard, lease, ago=100, seconds=100)
    with yard.write() as session:
        jobs.request_pause(session, job_id)
        jobs.pause(session, lease, detail="Saved.")
        jobs.request_cancel(session, job_id)
    assert job_of(yard, job_id).duration_seconds == pytest.approx(100, abs=MACHINE_SECONDS)


def test_a_job_that_is_cancelled_as_its_worker_stops_has_run_until_then(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    ran(yard, lease, ago=100, seconds=100)
    with yard.write() as session:
        jobs.request_cancel(session, job_id)
        jobs.give_back(session, lease, detail="The worker stopped.")
    job = job_of(yard, job_id)
    assert job.status is Status.CANCELLED
    assert job.duration_seconds == pytest.approx(100, abs=MACHINE_SECONDS)


def test_losses_are_counted_in_seconds_since_the_checkpoint(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        recording.first_step(session, lease, Progress(phase="train", epoch=1, step=1, steps=2))
        session.execute(
            sa.update(Attempt).values(first_step_at=utc_now(-30), lease_expires_at=utc_now(-1))
        )
    with yard.write() as session:
        jobs.expire_leases(session)

    assert job_of(yard, job_id).lost_seconds == pytest.approx(30, abs=MACHINE_SECONDS)


def test_a_crash_counts_the_seconds_since_the_newest_checkpoint(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        session.execute(
            sa.update(Attempt).values(first_step_at=utc_now(-40), heartbeat_at=utc_now(-10))
        )
    with yard.write() as session:
        jobs.crash(session, lease, failure=FAILURE)
    assert job_of(yard, job_id).lost_seconds == pytest.approx(30, abs=MACHINE_SECONDS)
    check_history(yard)


def test_a_preempted_job_keeps_its_place_and_is_no_crash(yard: Database) -> None:
    job_id = submit(yard)
    submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        jobs.give_back(session, lease, detail="The worker stopped.")

    assert job_of(yard, job_id).crashes == 0
    assert must_claim(yard).job_id == job_id
    check_history(yard)


@pytest.mark.parametrize("leave", [jobs.give_back, jobs.pause])
@pytest.mark.parametrize(("step", "lost_seconds"), [(7, 0), (6, 20)])
def test_a_job_that_is_stopped_loses_only_what_no_checkpoint_holds(
    yard: Database, tmp_path: Path, leave: Callable[..., None], step: int, lost_seconds: float
) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    saved = Checkpoint(path=tmp_path / "c.npz", epoch=2, step=step, bytes=1, sha256="0")
    with yard.write() as session:
        recording.artifact(session, lease, saved, "c.npz")
        session.execute(sa.update(Artifact).values(created_at=utc_now(-30)))
        session.execute(
            sa.update(Attempt).values(first_step_at=utc_now(-60), heartbeat_at=utc_now(-10))
        )
    with yard.write() as session:
        leave(session, lease, detail="It stopped.", reached=(2, 7))
    assert job_of(yard, job_id).lost_seconds == pytest.approx(lost_seconds, abs=MACHINE_SECONDS)
    check_history(yard)


def test_a_failure_of_its_own_ends_the_job(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        jobs.fail(session, lease, failure=FAILURE)

    job = job_of(yard, job_id)
    assert (job.status, job.failure) == (Status.FAILED, FAILURE)
    assert claim(yard) is None
    check_history(yard)


def test_a_waiting_job_is_cancelled_at_once(yard: Database) -> None:
    job_id = submit(yard)
    with yard.write() as session:
        assert jobs.request_cancel(session, job_id).status is Status.CANCELLED

    assert claim(yard) is None
    with pytest.raises(Conflict, match="cancelled"), yard.write() as session:
        jobs.request_cancel(session, job_id)
    check_history(yard)


def test_cancelling_a_running_job_asks_its_supervisor(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.read() as session:
        assert jobs.requests(session, lease) == jobs.Requests()
    for _ in range(2):
        with yard.write() as session:
            assert jobs.request_cancel(session, job_id).status is Status.RUNNING
    with yard.read() as session:
        assert jobs.requests(session, lease) == jobs.Requests(cancel=True)
    with yard.write() as session:
        jobs.cancel(session, lease)

    assert job_of(yard, job_id).status is Status.CANCELLED
    assert kinds(yard, job_id) == ["submitted", "claimed", "cancel_requested", "cancelled"]
    check_history(yard)


def test_a_lost_job_that_was_to_be_cancelled_does_not_run_again(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        jobs.request_cancel(session, job_id)
    expire(yard, lease)
    with yard.write() as session:
        jobs.expire_leases(session)

    assert job_of(yard, job_id).status is Status.CANCELLED
    assert claim(yard) is None
    check_history(yard)


def test_a_retry_is_a_new_job_with_the_same_spec(yard: Database) -> None:
    job_id = submit(yard, name="mine", spec={"seed": 7})
    with pytest.raises(Conflict, match="queued"), yard.write() as session:
        jobs.retry(session, job_id)
    with yard.write() as session:
        jobs.request_cancel(session, job_id)
    with yard.write() as session:
        again = jobs.retry(session, job_id)

    assert again.id != job_id
    assert (again.parent_id, again.name, again.status) == (job_id, "mine", Status.QUEUED)
    assert again.spec == job_of(yard, job_id).spec


def test_the_same_key_gives_the_same_job_and_never_another_spec(yard: Database) -> None:
    first = submit(yard, key="k1")
    assert submit(yard, key="k1") == first
    assert submit(yard, key="k2") != first
    with pytest.raises(Conflict, match="Idempotency-Key"):
        submit(yard, key="k1", spec={"epochs": 3})
    with yard.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == 2


def test_only_a_job_that_is_over_can_be_deleted(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with pytest.raises(Conflict, match="running"), yard.write() as session:
        jobs.delete(session, job_id)
    with yard.write() as session:
        recording.epoch(session, lease, epoch_event(1))
        recording.gauges(session, lease, [Point(lease.attempt, 2, 2.0, cpu_percent=80.0)])
        jobs.fail(session, lease, failure=FAILURE)
    with yard.write() as session:
        jobs.delete(session, job_id)

    with pytest.raises(NotFound, match=str(job_id)):
        job_of(yard, job_id)
    with yard.read() as session:
        for table in (Attempt, Epoch, Gauge, JobEvent):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_editing_changes_what_may_change_and_leaves_an_event(yard: Database) -> None:
    job_id = submit(yard, name="old", tags=["x"])
    with yard.write() as session:
        job = jobs.edit(session, job_id, name="new", priority=3)

    assert (job.name, job.priority, job.tags) == ("new", 3, ["x"])
    assert kinds(yard, job_id) == ["submitted", "edited"]


def test_epochs_bring_the_jobs_figures_up_to_date(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    for number, accuracy in enumerate([0.5, 0.9, 0.8], start=1):
        with yard.write() as session:
            recording.epoch(session, lease, epoch_event(number, accuracy))

    job = job_of(yard, job_id)
    assert (job.epochs_done, job.best_eval_accuracy, job.best_epoch) == (3, 0.9, 2)
    assert job.final_eval_accuracy == 0.8
    assert job.curve == [[1, 0.25, 0.5], [2, 0.25, 0.9], [3, 0.25, 0.8]]


def test_a_replayed_epoch_fills_a_gap_and_replaces_nothing(yard: Database) -> None:
    submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        recording.epoch(session, lease, epoch_event(1, 0.6))
        recording.epoch(session, lease, epoch_event(1, 0.1, replayed=True))
        recording.epoch(session, lease, epoch_event(2, 0.7, replayed=True))

    with yard.read() as session:
        rows = session.execute(sa.select(Epoch.epoch, Epoch.eval_accuracy).order_by(Epoch.epoch))
        assert [tuple(row) for row in rows] == [(1, 0.6), (2, 0.7)]
    check_history(yard)


def test_a_repeated_epoch_replaces_the_lost_attempts(yard: Database) -> None:
    submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        recording.epoch(session, lease, epoch_event(1, 0.6))
    expire(yard, lease)
    with yard.write() as session:
        jobs.expire_leases(session)
    second = must_claim(yard)
    with yard.write() as session:
        recording.epoch(session, second, epoch_event(1, 0.61))

    with yard.read() as session:
        row = session.scalars(sa.select(Epoch)).one()
    assert (row.eval_accuracy, row.attempt) == (0.61, 2)
    check_history(yard)


def test_a_long_curve_is_thinned_and_keeps_its_ends(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        for number in range(1, 201):
            recording.epoch(session, lease, epoch_event(number))

    curve = job_of(yard, job_id).curve
    assert len(curve) <= recording.MAX_CURVE_POINTS
    assert (curve[0][0], curve[-1][0]) == (1, 200)
    assert [point[0] for point in curve] == sorted({point[0] for point in curve})


def test_checkpoints_come_best_first(yard: Database, tmp_path: Any) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        for epoch, step in [(1, 50), (3, 0), (2, 10)]:
            event = Checkpoint(
                path=tmp_path / f"c-{epoch}-{step}.npz", epoch=epoch, step=step, bytes=1, sha256=""
            )
            recording.artifact(session, lease, event, f"jobs/{job_id}/{epoch}-{step}")

    with yard.read() as session:
        found = [(row.epoch, row.step) for row in recording.checkpoints(session, job_id)]
    assert found == [(3, 0), (2, 10), (1, 50)]


def test_a_job_over_its_time_fails_with_the_limit_named(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        assert jobs.time_out(session, job_id, limit_seconds=60)
    with yard.write() as session:
        assert not jobs.time_out(session, job_id, limit_seconds=60)

    job = job_of(yard, job_id)
    assert job.status is Status.FAILED
    assert job.failure is not None
    assert job.failure["kind"] == "timeout"
    assert "60 seconds" in job.failure["evidence"]
    with pytest.raises(LeaseLost), yard.write() as session:
        jobs.hold(session, lease)
    check_history(yard)


def test_a_worker_that_starts_anew_hands_back_what_it_had(yard: Database) -> None:
    job_id = submit(yard)
    other_id = submit(yard)
    lease = must_claim(yard)
    must_claim(yard, Slot("other", 0, ("default",)))
    with yard.write() as session:
        assert jobs.expire_worker(session, "w1") == [lease]

    assert job_of(yard, job_id).status is Status.QUEUED
    assert job_of(yard, other_id).status is Status.RUNNING
    with yard.read() as session:
        outcome = session.scalar(sa.select(Attempt.outcome).where(Attempt.job_id == job_id))
    assert outcome is Outcome.LOST
    check_history(yard)


def test_a_waiting_job_is_paused_at_once_and_resumed_to_its_place(yard: Database) -> None:
    first = submit(yard)
    second = submit(yard)
    with yard.write() as session:
        assert jobs.request_pause(session, first, actor="page").status is Status.PAUSED
    assert must_claim(yard).job_id == second
    with yard.write() as session:
        assert jobs.resume(session, first).status is Status.QUEUED

    assert must_claim(yard).job_id == first
    assert kinds(yard, first) == ["submitted", "paused", "queued", "claimed"]
    with yard.read() as session:
        actor = session.scalar(sa.select(JobEvent.actor).where(JobEvent.kind == "paused"))
    assert actor == "page"
    check_history(yard)


def test_a_running_job_is_paused_through_its_supervisor(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        assert jobs.request_pause(session, job_id).status is Status.RUNNING
    with yard.read() as session:
        assert jobs.requests(session, lease) == jobs.Requests(pause=True)
    with yard.write() as session:
        jobs.pause(session, lease, detail="Saved.")

    job = job_of(yard, job_id)
    assert (job.status, job.pause_requested_at, job.crashes) == (Status.PAUSED, None, 0)
    assert claim(yard) is None
    check_history(yard)


def test_a_pause_that_was_taken_back_does_not_happen(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        jobs.request_pause(session, job_id)
        jobs.resume(session, job_id)
    with yard.read() as session:
        assert jobs.requests(session, lease) == jobs.Requests()
    # Given a supervisor that had stopped its trainer already, then the job waits again
    with yard.write() as session:
        jobs.pause(session, lease, detail="Saved.")
    assert job_of(yard, job_id).status is Status.QUEUED
    check_history(yard)


def test_a_lost_job_that_was_to_be_paused_is_paused(yard: Database) -> None:
    job_id = submit(yard)
    lease = must_claim(yard)
    with yard.write() as session:
        jobs.request_pause(session, job_id)
    expire(yard, lease)
    with yard.write() as session:
        jobs.expire_leases(session)

    assert job_of(yard, job_id).status is Status.PAUSED
    check_history(yard)


def test_a_paused_job_can_be_cancelled(yard: Database) -> None:
    job_id = submit(yard)
    with yard.write() as session:
        jobs.request_pause(session, job_id)
    with yard.write() as session:
        assert jobs.request_cancel(session, job_id).status is Status.CANCELLED
    for ask in (jobs.request_pause, jobs.resume, jobs.request_cancel):
        with pytest.raises(Conflict, match="cancelled"), yard.write() as session:
            ask(session, job_id)
    check_history(yard)


def test_jobs_are_moved_in_their_queue(yard: Database) -> None:
    a, b, c, d = (submit(yard) for _ in range(4))
    with yard.write() as session:
        jobs.move(session, d, before=b)
        jobs.move(session, a, before=None)
        jobs.move(session, c, before=d)

    assert [must_claim(yard).job_id for _ in range(4)] == [c, d, b, a]


def test_a_new_job_waits_behind_those_that_were_moved_to_the_end(yard: Database) -> None:
    moved = [submit(yard) for _ in range(3)]
    with yard.write() as session:
        for job_id in moved:
            jobs.move(session, job_id, before=None)
    last = submit(yard)

    assert [must_claim(yard).job_id for _ in range(4)] == [*moved, last]


def test_two_jobs_move_before_a_third_as_often_as_one_likes(yard: Database) -> None:
    a, b, c, last = (submit(yard) for _ in range(4))
    for number in range(120):
        with yard.write() as session:
            jobs.move(session, (a, b)[number % 2], before=c)

    assert [must_claim(yard).job_id for _ in range(4)] == [a, b, c, last]


def test_a_job_moves_between_two_of_one_rank(yard: Database) -> None:
    a, b, c = (submit(yard) for _ in range(3))
    with yard.write() as session:
        session.execute(sa.update(Job).where(Job.id == b).values(queue_rank=a))
        jobs.move(session, c, before=b)

    assert [must_claim(yard).job_id for _ in range(3)] == [a, c, b]


def test_a_moved_job_takes_the_priority_of_its_place(yard: Database) -> None:
    plain = submit(yard)
    urgent = submit(yard, priority=5)
    with yard.write() as session:
        assert jobs.move(session, plain, before=urgent).priority == 5

    assert must_claim(yard).job_id == plain


def test_only_waiting_jobs_of_one_queue_are_moved(yard: Database) -> None:
    here = submit(yard)
    elsewhere = submit(yard, spec={"resources": {"queue": "big"}})
    with pytest.raises(Conflict, match="'big'"), yard.write() as session:
        jobs.move(session, here, before=elsewhere)
    must_claim(yard)
    with pytest.raises(Conflict, match="running"), yard.write() as session:
        jobs.move(session, here, before=None)
    with pytest.raises(NotFound), yard.write() as session:
        jobs.move(session, elsewhere, before=999)


def test_a_waiting_job_can_go_to_another_queue_and_a_running_one_cannot(yard: Database) -> None:
    job_id = submit(yard, spec={"resources": {"gpus": 1}})
    with yard.write() as session:
        jobs.edit(session, job_id, queue="big", gpus=0)

    job = job_of(yard, job_id)
    assert (job.queue, job.gpus) == ("big", 0)
    assert (job.spec["resources"]["queue"], job.spec["resources"]["gpus"]) == ("big", 0)
    must_claim(yard, Slot("w2", 0, ("big",)))
    with pytest.raises(Conflict, match="running"), yard.write() as session:
        jobs.edit(session, job_id, queue="default")


def test_a_retry_can_change_the_spec_and_names_what_is_wrong_with_it(yard: Database) -> None:
    job_id = submit(yard)
    with yard.write() as session:
        jobs.request_cancel(session, job_id)
    with yard.write() as session:
        again = jobs.retry(session, job_id, changes={"batch_size": 50})
        assert (again.batch_size, again.spec["batch_size"]) == (50, 50)
    with pytest.raises(InvalidInput, match=r"^spec.batch_size"), yard.write() as session:
        jobs.retry(session, job_id, changes={"batch_size": 0})
