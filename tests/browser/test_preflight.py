"""A pre-flight as people see it: asked from the form, answered, outdated, stopped."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from shared import preflights
from shared.jobs import Slot
from shared.models import Job, Preflight
from shared.tickets import Ticket
from tests.browser.conftest import PHONE, OpenPage, Site, Watch
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

SLOT = Slot("w1", 0, ("default",))
TRY = "Try it for a moment"
REPORT: dict[str, Any] = {
    "device": "CPU",
    "precision": "float32",
    "train_images": 60_000,
    "eval_images": 10_000,
    "steps_per_epoch": 600,
    "fits": True,
    "parameters": 7850,
    "prepare_seconds": 0.5,
    "step_seconds": 0.01,
    "epoch_seconds": 6.5,
    "memory_bytes": 1 << 30,
    "memory_limit_bytes": 8 << 30,
    "largest_batch": 800,
    "largest_batch_by": "memory",
    "diverged_at": None,
    "probes": [
        {"batch_size": size, "step_seconds": 1, "images_per_second": speed, "memory_bytes": 1}
        for size, speed in ((100, 1000.0), (400, 1500.0))
    ],
}


def claim(site: Site) -> Ticket:
    """Take the pre-flight that the page asks for, as a worker would."""
    found: list[Ticket] = []

    def claimed() -> bool:
        with site.database.write() as session:
            ticket = preflights.claim(session, SLOT, lease_seconds=60)
        found.extend([ticket] if ticket else [])
        return bool(found)

    wait_until(claimed, what="the page asks")
    return found[0]


def answer(site: Site, ticket: Ticket, **changes: Any) -> None:
    with site.database.write() as session:
        preflights.finish(session, ticket, REPORT | changes)


def facts(page: Page) -> dict[str, str]:
    expect(page.locator(".preflight-facts")).to_be_visible()
    names = page.locator(".preflight-facts dt").all_inner_texts()
    return dict(zip(names, page.locator(".preflight-facts dd").all_inner_texts(), strict=True))


def test_the_form_tells_how_far_it_is_and_what_was_found(open_page: OpenPage, site: Site) -> None:
    page = open_page("/jobs/new")
    page.get_by_role("button", name=TRY).click()
    ticket = claim(site)
    with site.database.write() as session:
        progress = {"doing": "Training on batches of 100", "share": 0.5}
        preflights.renew(session, ticket, lease_seconds=60, progress=progress)
    expect(page.get_by_text("Training on batches of 100")).to_be_visible()
    expect(page.get_by_label("Progress of the pre-flight")).to_have_attribute("value", "0.5")
    answer(site, ticket)
    assert facts(page) == {
        "An epoch": "6.5 s",
        "All 10 epochs": "1 min 6 s at most",
        "Memory": "1 GiB of 8 GiB",
        "Largest batch": "800 images",
    }
    expect(
        page.get_by_text("Batches of 400 train 1.5 times as many images a second.")
    ).to_be_visible()
    expect(page.get_by_text("Tried on w1: CPU, float32.")).to_be_visible()
    # Other values: what was found out is history.
    expect(page.locator(".is-outdated")).to_have_count(0)
    page.locator('[data-path="spec.epochs"]').fill("3")
    expect(page.locator(".is-outdated")).to_be_visible()
    page.get_by_role("button", name=TRY).click()
    answer(site, claim(site))
    expect(page.get_by_text("All 3 epochs")).to_be_visible()
    expect(page.locator(".is-outdated")).to_have_count(0)


def test_a_batch_that_does_not_fit_is_put_right_by_a_click(open_page: OpenPage, site: Site) -> None:
    page = open_page("/jobs/new", viewport=PHONE, scheme="dark")
    batch = page.locator('[data-path="spec.batch_size"]')
    batch.fill("4096")
    page.get_by_role("button", name=TRY).click()
    answer(site, claim(site), fits=False, epoch_seconds=None, diverged_at=None)
    assert facts(page)["Memory"] == "Batches of 4,096 do not fit into 8 GiB"
    page.get_by_role("button", name="Use it").click()
    expect(batch).to_have_value("800")


def test_what_cannot_be_trained_is_told(open_page: OpenPage, site: Site, watch: Watch) -> None:
    watch.expected.append("422")
    page = open_page("/jobs/new")
    page.locator('[data-path="spec.batch_size"]').fill("60001")
    page.get_by_role("button", name=TRY).click()
    expect(page.locator("#f-spec-batch_size-error")).to_contain_text("60,000")
    page.locator('[data-path="spec.batch_size"]').fill("100")
    page.get_by_role("button", name=TRY).click()
    failure = {"kind": "model", "evidence": "There is no model 'x'.", "suggestion": "Install it."}
    ticket = claim(site)
    with site.database.write() as session:
        preflights.fail(session, ticket, failure)
    expect(page.get_by_text("There is no model 'x'.")).to_be_visible()
    expect(page.get_by_text("Install it.")).to_be_visible()


def test_who_stops_it_or_leaves_is_not_waited_for(
    open_page: OpenPage, site: Site, watch: Watch
) -> None:
    watch.expected.append("404")  # it may ask how things are while it stops them

    def asked() -> int:
        with site.database.read() as session:
            return session.scalar(sa.select(sa.func.count()).select_from(Preflight)) or 0

    before = asked()
    page = open_page("/jobs/new")
    page.get_by_role("button", name=TRY).click()
    wait_until(lambda: asked() == before + 1, what="the page asks")
    page.get_by_role("button", name="Stop").click()
    wait_until(lambda: asked() == before, what="the question is gone")
    expect(page.get_by_role("button", name=TRY)).to_be_visible()


def test_a_job_that_ran_out_of_memory_finds_a_batch_that_fits(
    open_page: OpenPage, site: Site
) -> None:
    job_id = site.ids["failed"]
    failure = {"kind": "out_of_memory", "evidence": "OOM when allocating.", "suggestion": "Less."}
    with site.database.read() as session:
        before = session.get_one(Job, job_id).failure
    site.change(job_id, failure=failure)
    try:
        page = open_page(f"/jobs/{job_id}")
        page.get_by_role("button", name="Find the largest batch").click()
        answer(site, claim(site), fits=False)
        page.get_by_role("button", name="Run again with it").click()
        page.wait_for_url(lambda url: not url.endswith(f"/jobs/{job_id}"))
        with site.database.read() as session:
            newest = session.scalar(sa.select(Job).order_by(Job.id.desc()).limit(1))
        assert newest is not None
        assert (newest.parent_id, newest.batch_size) == (job_id, 800)
    finally:
        site.change(job_id, failure=before)


def test_other_failures_offer_no_batch(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['failed']}")
    expect(page.get_by_role("button", name="Find the largest batch")).to_be_hidden()
