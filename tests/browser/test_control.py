"""What a person does to jobs and workers from the pages: wait, pause, move, drain, run again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Locator, Page, expect

from shared.models import Job, Status, Worker
from tests.browser.conftest import OpenPage, Site
from tests.browser.test_job_page import STREAM_IS_OPEN
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

SOON_MS = 15_000


@contextmanager
def put_back(site: Site, job_id: int) -> Iterator[None]:
    """Give a job its row back, for the tests that follow."""
    with site.database.read() as session:
        job = session.get_one(Job, job_id)
        kept = {column.key: getattr(job, column.key) for column in sa.inspect(Job).columns}
    try:
        yield
    finally:
        site.change(job_id, **kept)


def job_of(site: Site, job_id: int) -> Job:
    with site.database.read() as session:
        return session.get_one(Job, job_id)


def why(page: Page) -> Locator:
    return page.get_by_role("region", name="Why is it waiting?")


def test_a_waiting_job_says_why_in_its_page_and_in_the_list(
    open_page: OpenPage, site: Site
) -> None:
    page = open_page(f"/jobs/{site.ids['queued_next']}")
    expect(why(page)).to_contain_text(re.compile(r"1 job ahead on 3 slots; about \d"))
    expect(why(page).locator("dd").first).to_have_text("2")
    page.goto("/")
    line = page.locator(f'tr[data-job="{site.ids["queued_next"]}"] .why')
    expect(line).to_have_text(re.compile(r"^2\. 1 job ahead on 3 slots; about \d"))


def test_a_remedy_moves_the_job_to_a_queue_that_is_served(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["stranded"]
    with put_back(site, job_id):
        page = open_page(f"/jobs/{job_id}")
        page.evaluate("window.stayed = true")
        expect(why(page)).to_contain_text("No worker serves queue 'gpu-large'")
        why(page).get_by_role("button", name="Move it to queue gpu").click()
        expect(why(page)).to_contain_text("It is next on 3 slots", timeout=SOON_MS)
        assert page.evaluate("window.stayed")
        assert job_of(site, job_id).queue == "gpu"


def test_the_reason_is_kept_true_while_one_looks(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['queued_next']}")
    expect(why(page)).to_contain_text("1 job ahead")
    # Nothing tells the page: the job itself does not change.
    with site.database.write() as session:
        first = session.get_one(Job, site.ids["queued"])
        first.status = Status.PAUSED
    try:
        expect(why(page)).to_contain_text("It is next", timeout=SOON_MS)
    finally:
        site.change(site.ids["queued"], status=Status.QUEUED)


def test_a_job_is_started_next_from_its_page_by_keyboard(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["queued_next"]
    with put_back(site, job_id):
        page = open_page(f"/jobs/{job_id}")
        button = why(page).get_by_role("button", name="Move it to the front")
        button.focus()
        page.keyboard.press("Enter")
        expect(why(page)).to_contain_text("It is next", timeout=SOON_MS)
        page.get_by_role("button", name="Move to the end").press("Enter")
        expect(why(page)).to_contain_text("1 job ahead", timeout=SOON_MS)


def test_the_queued_tab_moves_jobs_too(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["queued_next"]
    with put_back(site, job_id):
        page = open_page("/?status=queued")
        line = page.locator(f'tr[data-job="{job_id}"]')
        expect(line.locator(".why b")).to_have_text("2.")
        line.get_by_role("button", name=f"Start job {job_id}").click()
        expect(line.locator(".why b")).to_have_text("1.", timeout=SOON_MS)


def test_a_new_priority_is_kept_while_the_page_refreshes(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["queued_next"]
    with put_back(site, job_id):
        page = open_page(f"/jobs/{job_id}")
        page.get_by_label("Priority").fill("7")
        with page.expect_response(f"**/jobs/{job_id}"):
            pass  # what is typed survives a refresh
        expect(page.get_by_label("Priority")).to_have_value("7")
        page.get_by_label("Priority").press("Enter")
        expect(why(page)).to_contain_text("It is next", timeout=SOON_MS)
        assert job_of(site, job_id).priority == 7


def test_a_running_job_is_asked_to_pause_and_the_pause_can_be_taken_back(
    open_page: OpenPage, site: Site
) -> None:
    job_id = site.ids["running"]
    with put_back(site, job_id):
        page = open_page(f"/jobs/{job_id}")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("[data-toasts]")).to_contain_text("saves a checkpoint")
        expect(page.locator(".status")).to_have_text("Pausing", timeout=SOON_MS)
        assert job_of(site, job_id).pause_requested_at is not None
        page.get_by_role("button", name="Keep training").click()
        expect(page.locator(".status")).to_have_text("Running", timeout=SOON_MS)
        assert job_of(site, job_id).pause_requested_at is None
        expect(page.get_by_role("region", name="Events")).to_contain_text("by page, 127.0.0.1")


def test_a_waiting_job_is_paused_and_resumed_in_its_row(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["queued"]
    with put_back(site, job_id):
        page = open_page("/")
        line = page.locator(f'tr[data-job="{job_id}"]')
        line.get_by_role("button", name="Pause job").click()
        expect(line.locator(".status")).to_have_text("Paused", timeout=SOON_MS)
        line.get_by_role("button", name="Resume job").click()
        expect(line.locator(".status")).to_have_text("Queued", timeout=SOON_MS)
        assert job_of(site, job_id).status is Status.QUEUED


def test_a_paused_job_says_where_it_rests_and_goes_on_from_its_page(
    open_page: OpenPage, site: Site
) -> None:
    job_id = site.ids["paused"]
    with put_back(site, job_id):
        page = open_page(f"/jobs/{job_id}")
        expect(page.locator(".outcome")).to_contain_text("Paused after epoch 4 of 10.")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator(".status")).to_have_text("Queued", timeout=SOON_MS)
        expect(why(page)).to_be_visible()


def test_the_paused_tab_holds_the_paused_jobs(open_page: OpenPage, site: Site) -> None:
    page = open_page("/")
    page.get_by_role("link", name="Paused 1").click()
    expect(page.locator("[data-rows] tr")).to_have_count(1)
    expect(page.locator(f'tr[data-job="{site.ids["paused"]}"]')).to_contain_text("Paused")


def test_the_corrected_run_has_the_changed_spec(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['failed']}")
    panel = page.get_by_role("region", name="Training diverged")
    expect(panel.get_by_role("button", name="Run the same again")).to_be_visible()
    panel.get_by_role("button", name="Run again with a tenth of the learning rate: 0.1").click()
    expect(page.locator(".crumbs")).to_contain_text(f"from #{site.ids['failed']}")
    job = job_of(site, int(page.url.rsplit("/", 1)[1]))
    try:
        assert job.spec["learning_rate"] == pytest.approx(0.1)
        assert job.parent_id == site.ids["failed"]
        expect(page.locator(".facts")).to_contain_text("Adam at 0.1")
    finally:
        site.change(job.id, status=Status.CANCELLED)


def test_a_worker_is_drained_after_a_question_and_let_take_jobs_again(
    open_page: OpenPage, site: Site
) -> None:
    page = open_page("/workers")
    panel = page.get_by_role("region", name="gpu-lab-1")
    panel.get_by_role("button", name="Drain").click()
    dialog = page.get_by_role("dialog", name="Drain gpu-lab-1?")
    expect(dialog).to_contain_text("Its 3 jobs are saved")
    dialog.get_by_role("button", name="Drain the worker").click()
    expect(panel).to_contain_text("Draining", timeout=SOON_MS)
    expect(panel).to_contain_text("Asked by page, 127.0.0.1.")
    expect(page.locator('[data-region="notices"]')).to_contain_text("Every worker drains.")
    panel.get_by_role("button", name="Take jobs again").click()
    expect(panel).to_contain_text("Heartbeat", timeout=SOON_MS)
    with site.database.read() as session:
        assert session.get_one(Worker, "gpu-lab-1").drain_requested_at is None


def test_a_job_that_was_deleted_leaves_the_list(open_page: OpenPage, site: Site) -> None:
    page = open_page("/")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN), what="the stream is open")
    newest = page.locator("[data-rows] tr").first
    job_id = add_copy(site, site.ids["single"])
    line = page.locator(f'tr[data-job="{job_id}"]')
    expect(newest).to_have_attribute("data-job", str(job_id), timeout=SOON_MS)
    page.request.delete(f"/api/v1/jobs/{job_id}", headers={"Content-Type": "application/json"})
    expect(line).to_have_count(0, timeout=SOON_MS)


def add_copy(site: Site, job_id: int, **changes: Any) -> int:
    """Insert a copy of a job's row."""
    with site.database.write() as session:
        job = session.get_one(Job, job_id)
        columns = [column.key for column in sa.inspect(Job).columns if column.key != "id"]
        values = {name: getattr(job, name) for name in columns} | changes
        copy_id = session.scalars(sa.insert(Job).values(**values).returning(Job.id)).one()
    site.publisher.publish(copy_id, "job")
    return copy_id
