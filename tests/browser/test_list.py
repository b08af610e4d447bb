"""The list of jobs, as a person sees and uses it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from shared.models import Status
from tests.browser.conftest import PHONE, OpenPage, Site

pytestmark = pytest.mark.browser


def row(page: Page, job_id: int) -> str:
    return f'tr[data-job="{job_id}"]'


def names(page: Page) -> list[str]:
    return page.locator(".job-link").all_text_contents()


def test_results_stand_in_the_list_without_choosing_columns(
    open_page: OpenPage, site: Site
) -> None:
    page = open_page("/")
    line = page.locator(row(page, site.ids["succeeded"]))
    expect(line).to_contain_text("Succeeded")
    expect(line).to_contain_text("hello-world")
    expect(line).to_contain_text("Shallow CNN")
    expect(line).to_contain_text("mnist")
    expect(line).to_contain_text("SGD")
    expect(line).to_contain_text("0.001")
    expect(line).to_contain_text("10 / 10")
    expect(line.locator(".cell-best")).to_have_text(re.compile(r"9\d\.\d\d\s%"))
    expect(line.locator("svg.spark polyline")).to_have_count(2)


def test_a_running_job_shows_its_progress_inside_the_epoch(open_page: OpenPage, site: Site) -> None:
    page = open_page("/")
    bar = page.locator(f"{row(page, site.ids['running'])} progress")
    assert bar.evaluate("node => [node.value, node.max]") == [pytest.approx(6.62), 12]


def test_the_tabs_filter_by_status_and_count(open_page: OpenPage, site: Site) -> None:
    page = open_page("/")
    page.get_by_role("link", name="Failed 1").click()
    expect(page.locator("[data-rows] tr")).to_have_count(1)
    expect(page.locator(row(page, site.ids["failed"]))).to_be_visible()
    assert page.url.endswith("/?status=failed")


def test_the_search_keeps_the_address_shareable(open_page: OpenPage) -> None:
    page = open_page("/")
    page.get_by_role("searchbox").fill("too-slow")
    expect(page.locator("[data-rows] tr")).to_have_count(1)
    shared = page.url
    assert "q=too-slow" in shared
    page.goto(shared)
    assert names(page) == ["deep-cnn-too-slow"]
    expect(page.get_by_role("searchbox")).to_have_value("too-slow")


def test_a_header_sorts_and_the_back_button_undoes_it(open_page: OpenPage) -> None:
    page = open_page("/")
    before = names(page)
    page.get_by_role("link", name="Best accuracy").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Best accuracy")
    best = [float(text.split()[0]) for text in page.locator(".cell-best b").all_text_contents()]
    assert best == sorted(best, reverse=True)
    page.go_back()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Age")
    assert names(page) == before


def test_the_next_page_goes_on_where_the_first_ended(open_page: OpenPage) -> None:
    page = open_page("/")
    first = page.locator("[data-rows] tr").evaluate_all("rows => rows.map(r => r.dataset.job)")
    page.get_by_role("link", name="Next page").click()
    head = page.locator("[data-rows] tr").first
    expect(head).not_to_have_attribute("data-job", first[0])
    expect(page.get_by_role("link", name="First page")).to_be_visible()
    second = page.locator("[data-rows] tr").evaluate_all("rows => rows.map(r => r.dataset.job)")
    assert int(second[0]) == int(first[-1]) - 1
    assert not set(first) & set(second)


def test_a_tag_filters_and_can_be_taken_away_again(open_page: OpenPage) -> None:
    page = open_page("/")
    page.locator(".cell-name .tag", has_text="week-48").click()
    expect(page.locator("[data-rows] tr")).to_have_count(1)
    page.locator(".chip", has_text="week-48").click()
    expect(page.locator("[data-rows] tr")).to_have_count(50)


def test_no_match_says_so_and_offers_the_way_back(open_page: OpenPage) -> None:
    page = open_page("/?q=there-is-no-such-job")
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()
    page.get_by_role("link", name="Show all jobs").click()
    expect(page.locator("[data-rows] tr")).to_have_count(50)


def test_a_changed_job_changes_in_its_row_without_a_reload(open_page: OpenPage, site: Site) -> None:
    page = open_page("/")
    page.evaluate("window.stayed = true")
    job_id = site.ids["queued_next"]
    line = page.locator(row(page, job_id))
    expect(line).to_contain_text("Queued")
    site.change(job_id, status=Status.CANCELLED)
    try:
        expect(line).to_contain_text("Cancelled", timeout=15_000)
        assert page.evaluate("window.stayed")
    finally:
        site.change(job_id, status=Status.QUEUED)


def test_rows_do_not_move_under_the_pointer(open_page: OpenPage, site: Site) -> None:
    page = open_page("/?status=queued")
    rows = page.locator("[data-rows] tr")
    before = rows.count()
    rows.last.hover()
    site.change(site.ids["cancelled"], status=Status.QUEUED)
    try:
        button = page.get_by_role("button", name="Show 1 new job")
        expect(button).to_be_visible(timeout=15_000)
        expect(rows).to_have_count(before)
        button.click()
        expect(rows).to_have_count(before + 1)
    finally:
        site.change(site.ids["cancelled"], status=Status.CANCELLED)


def test_cancel_asks_in_the_page_and_then_cancels(open_page: OpenPage, site: Site) -> None:
    page = open_page("/")
    line = page.locator(row(page, site.ids["queued"]))
    line.get_by_role("button", name="Cancel job").click()
    dialog = page.get_by_role("dialog", name="Cancel adam-large-batch?")
    dialog.get_by_role("button", name="Keep waiting").click()
    expect(line).to_contain_text("Queued")
    line.get_by_role("button", name="Cancel job").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(line).to_contain_text("Cancelled", timeout=15_000)


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1440, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_never_scrolls_sideways(open_page: OpenPage, scheme: str, width: int) -> None:
    page = open_page("/", scheme=scheme, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_rows_become_cards_on_a_phone(open_page: OpenPage, site: Site) -> None:
    page = open_page("/", viewport=PHONE)
    card = page.locator(row(page, site.ids["running"]))
    expect(page.locator("thead")).to_be_hidden()
    for part in (".cell-status", ".job-link", "progress", ".cell-best", ".spark", ".cell-actions"):
        box = card.locator(part).first.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= PHONE["width"]


def test_the_theme_can_be_chosen_and_is_remembered(open_page: OpenPage) -> None:
    page = open_page("/", scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="light and dark").click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark


def test_the_header_shows_the_yard_at_a_glance(open_page: OpenPage) -> None:
    page = open_page("/")
    expect(page.locator(".yard")).to_contain_text("3 of 3 slots busy")
