"""The ribbon of attempts under the accuracy curve."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from playwright.sync_api import Locator, Page, expect

from shared.database import utc_now
from shared.models import Attempt, Job, Outcome, Status
from tests.browser.conftest import PHONE, OpenPage, Site
from tests.browser.test_job_page import STREAM_IS_OPEN
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


def ribbon(page: Page) -> Locator:
    return page.get_by_role("region", name="Attempts in time")


def test_every_attempt_is_a_segment_and_every_break_a_mark(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}")
    expect(ribbon(page).get_by_role("heading")).to_have_text(
        "One curve, 3 attempts: 1 loss and 1 preemption cost 41 s."
    )
    links = ribbon(page).get_by_role("link")
    names = links.evaluate_all("links => links.map(link => link.getAttribute('aria-label'))")
    assert names == [
        "Attempt 1 on gpu-lab-1: lost",
        "Attempt 2 on spot-7: preempted",
        "Attempt 3 on gpu-lab-1: running",
    ]
    marks = ribbon(page).locator(".mark text").all_text_contents()
    assert marks == ["Lost, 31 s", "Preempted, 9.6 s"]


def test_the_ribbon_lies_under_the_curve_in_its_panel(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}")
    plot = page.locator('[data-chart="accuracy"] .plot').bounding_box()
    bar = ribbon(page).locator(".ribbon-bar").bounding_box()
    assert plot is not None
    assert bar is not None
    assert plot["y"] + plot["height"] <= bar["y"]
    assert plot["height"] > 250
    assert bar["y"] + bar["height"] < 900


def test_a_segment_tells_its_story_to_pointer_and_keyboard(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}")
    page.wait_for_selector('[data-chart="accuracy"] canvas')
    tip = ribbon(page).get_by_role("tooltip")
    ribbon(page).get_by_role("link").first.hover()
    expect(tip).to_contain_text("Attempt 1: lost")
    expect(tip).to_contain_text("Cost 31 s: 7.4 s of work to repeat, 24 s until it trained again.")
    page.mouse.move(0, 0)
    expect(tip).to_have_count(0)
    ribbon(page).get_by_role("link").nth(1).focus()
    expect(tip).to_contain_text("Went on at epoch 4")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)


def test_a_segment_leads_to_its_row_in_the_table(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}")
    ribbon(page).get_by_role("link").nth(1).press("Enter")
    row = page.locator("tr:target")
    expect(row).to_contain_text("spot-7")
    expect(row).to_contain_text("preempted")
    expect(row).to_contain_text("9.6 s")


def test_one_untroubled_attempt_is_a_slim_line(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}")
    expect(ribbon(page)).to_have_text(re.compile(r"^\s*One attempt, on gpu-lab-1\s*$"))
    box = ribbon(page).bounding_box()
    assert box is not None
    assert box["height"] < 48


def test_a_job_that_waits_has_no_ribbon(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['queued']}")
    expect(page.locator('[data-region="ribbon"]')).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(open_page: OpenPage, site: Site, scheme: str) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}", scheme=scheme, viewport=PHONE)
    page.wait_for_selector('[data-chart="accuracy"] canvas')
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert ribbon(page).get_by_role("link").count() == 3


def test_a_loss_appears_while_one_looks(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["running"]
    page = open_page(f"/jobs/{job_id}")
    expect(ribbon(page)).to_contain_text("One attempt")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN), what="the stream is open")
    lost = {"outcome": Outcome.LOST, "ended_at": utc_now(), "lost_seconds": 3.0}
    with site.database.write() as session:
        session.execute(sa.update(Attempt).where(Attempt.job_id == job_id).values(**lost))
    site.change(job_id, status=Status.QUEUED)
    try:
        heading = ribbon(page).get_by_role("heading")
        expect(heading).to_contain_text("1 attempt: 1 loss cost", timeout=15_000)
        expect(heading).to_contain_text("so far")
    finally:
        with site.database.write() as session:
            found = {"outcome": None, "ended_at": None, "lost_seconds": 0.0}
            session.execute(sa.update(Attempt).where(Attempt.job_id == job_id).values(**found))
            session.execute(sa.update(Job).where(Job.id == job_id).values(status=Status.RUNNING))
