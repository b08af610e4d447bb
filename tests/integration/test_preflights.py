"""Pre-flights: their life in SQL, over HTTP, and on a real worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from shared import catalogue, preflights
from shared.database import Database, utc_now
from shared.errors import LeaseLost, NotFound
from shared.jobs import Slot
from shared.models import DatasetVersion, Preflight, Status, TicketStatus, Worker
from shared.protocol import Findings
from shared.settings import Settings
from shared.spec import parse_submission
from shared.tickets import Ticket
from tests.fake_trainer import Behaviour
from tests.waiting import wait_until
from tests.web_client import json_of
from tests.worker_yard import Yard, make_yard, trainer_of
from web.api import schemas

SLOT = Slot("w1", 0, ("default",))
PATH = "/api/v1/preflights"


@pytest.fixture
def known(database: Database) -> Database:
    with database.write() as session:
        catalogue.register_bundled(session)
    return database


def ask(database: Database, **spec: Any) -> int:
    submission = parse_submission({"spec": spec})
    with database.write() as session:
        version = catalogue.resolve(session, submission.spec.dataset)
        return preflights.request(session, submission.spec, version, actor="ann").id


def claim(database: Database, slot: Slot = SLOT, lease_seconds: float = 60) -> Ticket | None:
    with database.write() as session:
        return preflights.claim(session, slot, lease_seconds=lease_seconds)


def must_claim(database: Database, lease_seconds: float = 60) -> Ticket:
    ticket = claim(database, lease_seconds=lease_seconds)
    assert ticket is not None
    return ticket


def look(database: Database, preflight_id: int) -> Preflight:
    with database.read() as session:
        return preflights.get(session, preflight_id)


def change(database: Database, **values: Any) -> None:
    with database.write() as session:
        session.execute(sa.update(Preflight).values(**values))


# --- in SQL -------------------------------------------------------------------------------------


def test_the_oldest_that_fits_the_slot_is_taken_and_answered(known: Database) -> None:
    ask(known, resources={"gpus": 1})
    ask(known, resources={"queue": "other"})
    first = ask(known)
    ask(known)
    ticket = must_claim(known)
    assert ticket.id == first
    asked = look(known, first)
    assert (asked.status, asked.worker, asked.actor) == (TicketStatus.RUNNING, "w1", "ann")
    assert asked.spec["dataset"]["version"]
    with known.write() as session:
        preflights.renew(session, ticket, lease_seconds=60, progress={"doing": "x", "share": 0.5})
    assert look(known, first).progress == {"doing": "x", "share": 0.5}
    with known.write() as session:
        preflights.finish(session, ticket, {"largest_batch": 8})
    done = look(known, first)
    assert (done.status, done.report) == (TicketStatus.DONE, {"largest_batch": 8})
    assert done.finished_at is not None
    with known.write() as session, pytest.raises(LeaseLost):
        preflights.fail(session, ticket, {})


def test_a_slot_takes_only_what_it_can_answer(known: Database) -> None:
    preflight_id = ask(known, resources={"gpus": 1, "queue": "gpu"})
    assert claim(known) is None
    assert claim(known, Slot("w2", 0, ("gpu",), 0)) is None
    ticket = claim(known, Slot("w2", 0, ("gpu",), 1))
    assert ticket is not None
    assert ticket.id == preflight_id


def test_what_a_silent_worker_held_is_taken_by_another_and_given_up_after_the_second(
    known: Database,
) -> None:
    preflight_id = ask(known)
    lost = must_claim(known, lease_seconds=-1)
    with known.read() as session:
        assert preflights.open_queues(session) == {"default": 1}
    second = must_claim(known, lease_seconds=-1)
    assert (second.id, second.token != lost.token) == (preflight_id, True)
    with known.write() as session, pytest.raises(LeaseLost):
        preflights.renew(session, lost, lease_seconds=60, progress=None)
    assert claim(known) is None
    with known.write() as session:
        preflights.tidy(session)
    given_up = look(known, preflight_id)
    assert given_up.status is TicketStatus.FAILED
    assert given_up.failure is not None
    assert given_up.failure["kind"] == "lost"


def test_what_is_given_back_counts_as_never_tried(known: Database) -> None:
    preflight_id = ask(known)
    for _ in range(preflights.MAX_TRIES + 1):
        ticket = must_claim(known)
        with known.write() as session:
            preflights.give_back(session, ticket)
    assert look(known, preflight_id).status is TicketStatus.QUEUED
    assert must_claim(known).id == preflight_id


def test_answers_are_kept_for_a_day(known: Database) -> None:
    old = ask(known)
    change(known, requested_at=utc_now(-90_000))
    new = ask(known)
    with known.write() as session:
        preflights.tidy(session)
    assert look(known, new).status is TicketStatus.QUEUED
    with pytest.raises(NotFound, match="kept for a day"):
        look(known, old)


# --- over HTTP ----------------------------------------------------------------------------------


def test_one_asks_looks_and_forgets(client: FlaskClient, database: Database) -> None:
    answer = client.post(PATH, json={"preset": "mlp", "spec": {"batch_size": 50}})
    assert answer.status_code == 202
    schemas.Preflight.model_validate_json(answer.data)
    asked = json_of(answer)
    assert answer.headers["Location"] == f"{PATH}/{asked['id']}"
    assert (asked["status"], asked["spec"]["batch_size"]) == ("queued", 50)
    assert asked["waiting"] == "The queue service is away; it is tried when that is back."
    ticket = must_claim(database)
    with database.write() as session:
        failure = {"kind": "data", "evidence": "Broken.", "suggestion": "Mend it."}
        preflights.fail(session, ticket, failure)
    answer = client.get(f"{PATH}/{asked['id']}")
    schemas.Preflight.model_validate_json(answer.data)
    over = json_of(answer)
    assert (over["status"], over["failure"], over["waiting"]) == ("failed", failure, None)
    assert client.delete(f"{PATH}/{asked['id']}").status_code == 204
    assert client.get(f"{PATH}/{asked['id']}").status_code == 404
    assert client.delete(f"{PATH}/{asked['id']}").status_code == 404
    assert json_of(client.post(PATH, json={}))["id"] > asked["id"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"batch_size": 60_001}, "spec.batch_size"),
        ({"batch_size": 0}, "spec.batch_size"),
        ({"model": {"kind": "layers", "layers": [{"kind": "pool", "size": 99}]}}, "spec.model"),
    ],
)
def test_what_cannot_be_a_job_is_not_tried(
    client: FlaskClient, database: Database, spec: dict[str, Any], field: str
) -> None:
    answer = client.post(PATH, json={"spec": spec})
    assert answer.status_code == 422
    assert json_of(answer)["errors"][0]["field"].startswith(field)
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Preflight)) == 0


def test_the_sentence_tells_what_is_busy_or_missing(known: Database) -> None:
    def sentence(**changes: Any) -> str:
        from shared.waiting import explain_preflight

        asked: dict[str, Any] = {"queue": "default", "gpus": 0, "lease_seconds": 20}
        with known.read() as session:
            return explain_preflight(session, **asked | {"queue_away": False} | changes)

    assert sentence() == "No worker is connected."
    slots = [{"index": 0, "device": "CPU", "gpus": 0, "job_id": None}]
    row = {"name": "w1", "hostname": "h", "pid": 1, "queues": ["default"], "info": {}}
    with known.write() as session:
        times = {"started_at": utc_now(), "heartbeat_at": utc_now()}
        session.execute(sa.insert(Worker).values(**row, slots=slots, **times))
    assert sentence() == "A slot is free; it is tried in a moment."
    assert sentence(gpus=1).startswith("It needs a GPU")
    assert sentence(queue="other").startswith("No worker serves queue 'other'")
    busy = [slots[0] | {"job_id": 77}]
    with known.write() as session:
        session.execute(sa.update(Worker).values(slots=busy))
    assert sentence() == "The only slot that could try it is busy; it is tried when one is free."


# --- on a worker --------------------------------------------------------------------------------


@pytest.fixture
def yard(service_settings: Settings, database: Database, tmp_path: Path) -> Yard:
    return make_yard(service_settings, database, tmp_path)


def ring(yard: Yard, behaviour: Behaviour = Behaviour.WELL) -> int:
    preflight_id = ask(yard.database, seed=int(behaviour))
    yard.bell.ring("default")
    return preflight_id


def wait(yard: Yard, preflight_id: int, status: TicketStatus) -> Preflight:
    wait_until(
        lambda: look(yard.database, preflight_id).status is status,
        30,
        what=f"pre-flight {preflight_id} is {status}",
    )
    return look(yard.database, preflight_id)


def open_gate(yard: Yard) -> None:
    (yard.gate / "go-measure").touch()


@pytest.mark.usefixtures("no_process_left")
def test_a_slot_answers_before_it_takes_a_job(yard: Yard) -> None:
    job_id = yard.submit(epochs=1)
    preflight_id = ring(yard)
    yard.open_gate(1)
    with yard.worker():
        running = wait(yard, preflight_id, TicketStatus.RUNNING)
        wait_until(
            lambda: (
                look(yard.database, preflight_id).progress == {"doing": "Pretending", "share": 0.5}
            ),
            what="its progress is written",
        )
        assert running.worker == "w1"
        assert yard.job(job_id).status is Status.QUEUED
        open_gate(yard)
        done = wait(yard, preflight_id, TicketStatus.DONE)
        assert done.report is not None
        assert done.report["largest_batch"] == 800
        Findings.model_validate(done.report)
        yard.wait(job_id, Status.SUCCEEDED)
    assert not list((yard.settings.data_dir / "work" / "w1").iterdir())


@pytest.mark.usefixtures("no_process_left")
@pytest.mark.parametrize(
    ("behaviour", "kind", "evidence"),
    [
        (Behaviour.DIES, "internal", "killed by signal 9"),  # by whom, nobody knows
        (Behaviour.EXITS, "internal", "last words"),
        (Behaviour.DIVERGES, "model", "No such plugin."),
    ],
)
def test_what_goes_wrong_is_an_answer_too(
    yard: Yard, behaviour: Behaviour, kind: str, evidence: str
) -> None:
    open_gate(yard)
    preflight_id = ring(yard, behaviour)
    with yard.worker():
        failed = wait(yard, preflight_id, TicketStatus.FAILED)
        assert failed.failure is not None
        assert failed.failure["kind"] == kind
        assert evidence in failed.failure["evidence"]
        yard.run_another()


@pytest.mark.usefixtures("no_process_left")
def test_a_trainer_that_the_kernel_kills_for_its_memory_is_an_answer_about_memory(
    yard: Yard,
) -> None:
    group = yard.folder / "group"
    group.mkdir()
    (group / "memory.events").write_text("oom_kill 0\n")
    preflight_id = ring(yard)
    with yard.worker(fault=f"control_group:{group}") as worker:
        wait_until(
            lambda: look(yard.database, preflight_id).progress is not None, what="it is tried"
        )
        (group / "memory.events").write_text("oom_kill 1\n")
        trainer_of(worker).kill()
        failed = wait(yard, preflight_id, TicketStatus.FAILED)
    assert failed.failure is not None
    assert failed.failure["kind"] == "out_of_memory"
    assert "The kernel has killed a process here" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_data_that_the_store_has_lost_are_an_answer_and_no_silence(yard: Yard) -> None:
    yard.store.make()
    with yard.database.write() as session:
        session.execute(sa.update(DatasetVersion).values(uri="datasets/lost", version="0" * 64))
    with yard.worker():
        failed = wait(yard, ring(yard), TicketStatus.FAILED)
    assert failed.failure is not None
    assert "There is no file 'datasets/lost/" in failed.failure["evidence"]


@pytest.mark.usefixtures("no_process_left")
def test_a_worker_that_stops_hands_the_question_on(yard: Yard) -> None:
    preflight_id = ring(yard)
    with yard.worker("w1"):
        wait(yard, preflight_id, TicketStatus.RUNNING)
    assert look(yard.database, preflight_id).status is TicketStatus.QUEUED
    open_gate(yard)
    with yard.worker("w2"):
        assert wait(yard, preflight_id, TicketStatus.DONE).worker == "w2"


@pytest.mark.usefixtures("no_process_left")
def test_a_lost_message_or_worker_is_no_lost_question(yard: Yard) -> None:
    preflight_id = ask(yard.database)  # nobody rings
    with yard.scheduler():
        with yard.worker("w1") as worker:
            wait(yard, preflight_id, TicketStatus.RUNNING)
            worker.kill()
            worker.wait()
        open_gate(yard)
        with yard.worker("w2", TRAINYARD_LEASE_SECONDS="60"):
            assert wait(yard, preflight_id, TicketStatus.DONE).worker == "w2"


@pytest.mark.usefixtures("no_process_left")
def test_a_question_that_nobody_asks_any_more_frees_the_slot(yard: Yard) -> None:
    preflight_id = ring(yard)
    with yard.worker() as worker:
        wait_until(
            lambda: look(yard.database, preflight_id).progress is not None,
            what="a trainer is at it",
        )
        trainer = trainer_of(worker)
        with yard.database.write() as session:
            preflights.delete(session, preflight_id)
        wait_until(lambda: not trainer.is_running(), what="its trainer is ended")
        yard.run_another()
