"""The pages as the server renders them, before any JavaScript, on both databases."""

from __future__ import annotations

import re
from collections import OrderedDict
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from shared import jobs, waiting, workers
from shared.artifacts import ArtifactStore
from shared.database import Database, utc_now
from shared.models import Status, Worker
from shared.queue import Bell
from tests.web_client import add_epoch, add_job, add_jobs, yard_of
from web import versions

NASTY = "</script><script>alert(1)</script>\"'&"
PAGES = ("/", "/jobs/new", "/jobs/1", "/workers", "/datasets", "/jobs/77")


def html(client: FlaskClient, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "text/html"
    return answer.text


@pytest.mark.parametrize("path", PAGES)
def test_no_page_needs_what_the_content_security_policy_forbids(
    client: FlaskClient, path: str
) -> None:
    add_job(yard_of(client).database)
    page = client.get(path).text
    assert not re.search(r"\sstyle\s*=", page)
    assert not re.search(r"\son[a-z]+\s*=", page)
    for attributes, body in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL):
        assert "src=" in attributes or 'type="application/json"' in attributes
        assert not ("src=" in attributes and body.strip())
    assert "<style" not in page


@pytest.mark.parametrize("path", PAGES)
def test_no_page_names_another_host(client: FlaskClient, path: str) -> None:
    add_job(yard_of(client).database)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', client.get(path).text)


def test_what_people_type_is_text_and_never_markup(client: FlaskClient) -> None:
    job_id = add_job(yard_of(client).database, name=NASTY, tags=[NASTY])
    for path in ("/", f"/jobs/{job_id}", f"/jobs/new?clone={job_id}"):
        page = html(client, path)
        assert "<script>alert" not in page
        assert NASTY in unescape(page)


def test_the_empty_list_offers_the_first_job(client: FlaskClient) -> None:
    page = html(client, "/")
    assert 'data-preset="hello-world"' in page
    assert "No worker is connected." in page
    assert "The queue is away." in page


def test_the_list_keeps_its_filters_in_every_link(client: FlaskClient) -> None:
    names = [{"name": f"run-{index}", "tags": ["a&b"]} for index in range(60)]
    add_jobs(yard_of(client).database, names)
    page = unescape(html(client, "/?q=run&tag=a%26b&sort=name&param.seed=0"))
    kept = "/?q=run&tag=a%26b&param.seed=0&sort=name"
    assert f'href="{kept}&status=failed"' in page
    assert 'href="/?q=run&tag=a%26b&param.seed=0&sort=-name"' in page
    following = re.search(rf'href="({re.escape(kept)}&cursor=[\w-]+)"', page)
    assert following is not None
    assert html(client, following[1]).count("<tr data-job=") == 10


def test_counts_are_those_of_the_filter(client: FlaskClient) -> None:
    rows = [{"name": "x", "status": status} for status in (Status.FAILED, Status.QUEUED)]
    add_jobs(yard_of(client).database, [*rows, {"name": "other"}])
    counts = re.findall(r'class="tab-count">([\d,+]+)<', html(client, "/?q=x"))
    assert counts == ["2"]


@pytest.mark.parametrize("query", ["status=gone", "sort=nothing", "cursor=x", "nonsense=1"])
def test_an_address_that_makes_no_sense_is_told_so_on_a_page(
    client: FlaskClient, query: str
) -> None:
    page = html(client, f"/?{query}", 422)
    assert query.partition("=")[0] in page
    assert "To the jobs" in page


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/77",
        "/jobs/9223372036854775808",
        "/jobs/new?clone=77",
        "/jobs/new?clone=x",
        "/jobs/new?clone=99999999999999999999",
        "/jobs/new?preset=none",
    ],
)
def test_what_there_is_not_is_a_page_that_says_so(client: FlaskClient, path: str) -> None:
    assert "To the jobs" in html(client, path, 404)


def test_a_job_that_waits_says_what_for_and_offers_remedies(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bell, "ping", lambda self: None)
    database = yard_of(client).database
    add_worker(database)
    job_id = add_job(database, queue="gpu-large")
    why = "No worker serves queue 'gpu-large'; those connected serve 'default'."
    page = unescape(html(client, f"/jobs/{job_id}"))
    assert why in page
    button = re.search(r'<button[^>]*data-action="remedy"[^>]*>([^<]*)', page)
    assert button is not None
    assert f'data-method="PATCH" data-path="/api/v1/jobs/{job_id}"' in button[0]
    assert 'data-body="{"queue":"default"}"' in button[0]
    assert button[1] == "Move it to queue default"
    assert why in unescape(html(client, "/"))


def test_why_jobs_wait_is_asked_only_for_pages_that_show_it(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def explain(*_: Any, **__: Any) -> dict[int, waiting.Wait]:
        asked.append(1)
        return {}

    monkeypatch.setattr(waiting, "explain", explain)
    database = yard_of(client).database
    over = add_job(database, status=Status.SUCCEEDED)
    add_jobs(database, [{}, {}])
    for path, times in (("/?status=succeeded", 0), (f"/jobs/{over}", 0), ("/", 1)):
        html(client, path)
        assert len(asked) == times, path


def test_a_worker_that_drains_says_why_and_can_take_jobs_again(client: FlaskClient) -> None:
    database = yard_of(client).database
    add_worker(database)
    assert 'data-action="drain" data-worker="w1"' in html(client, "/workers")
    with database.write() as session:
        workers.request_drain(session, "w1", reason="Asked by API: a new disk.")
    page = html(client, "/workers")
    assert "Asked by API: a new disk." in page
    assert 'data-action="undrain" data-worker="w1"' in page
    assert "Takes no job" in page
    assert "Every worker drains." in html(client, "/")


def test_events_say_who_asked(client: FlaskClient) -> None:
    database = yard_of(client).database
    job_id = add_job(database)
    with database.write() as session:
        jobs.request_pause(session, job_id, actor="page, 10.0.0.7")
    page = html(client, f"/jobs/{job_id}")
    assert "by page, 10.0.0.7" in page
    assert "Paused" in page
    assert 'data-action="resume"' in page


def add_worker(database: Database) -> None:
    slots = [{"index": 0, "device": "CPU", "gpus": 0, "job_id": None, "warm": True}]
    row = {"name": "w1", "hostname": "h", "pid": 1, "queues": ["default"], "info": {}}
    with database.write() as session:
        times = {"started_at": utc_now(), "heartbeat_at": utc_now()}
        session.execute(sa.insert(Worker).values(**row, slots=slots, **times))


def test_the_job_page_holds_its_epochs_before_any_request(client: FlaskClient) -> None:
    database = yard_of(client).database
    job_id = add_job(database, status=Status.RUNNING)
    for epoch in (1, 2):
        add_epoch(database, job_id, epoch)
    page = html(client, f"/jobs/{job_id}")
    assert "[[1,0.9,0.8,0.3,0.4,0.001,1.5],[2," in re.sub(r"\s", "", page)
    assert page.count('<th scope="row"') == 2


def test_a_page_that_waits_for_the_store_keeps_no_database_waiting(
    client: FlaskClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_kept", OrderedDict())
    really, held = ArtifactStore.ranges, []

    def ranges(store: ArtifactStore, *arguments: Any, **options: Any) -> list[bytes]:
        held.append(database.engine.pool.status())
        return really(store, *arguments, **options)

    monkeypatch.setattr(ArtifactStore, "ranges", ranges)
    assert "data:image" in html(client, "/datasets/mnist")
    assert held
    assert all("Checked out connections: 0" in each for each in held), held[0]
