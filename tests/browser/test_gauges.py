"""The gauges of the job page: only those that exist, over time, and live."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE, OpenPage, Site, pixels
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

STREAM_IS_OPEN = "performance.getEntriesByName('stream-open').length > 0"
ALL = ["Processor", "Memory", "GPU", "GPU memory", "Temperature", "Power"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_gauge_of_a_gpu_is_drawn(open_page: OpenPage, site: Site, scheme: str) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}", scheme=scheme)
    machine = page.get_by_role("region", name="Machine")
    expect(machine.locator("figcaption span")).to_have_text(ALL)
    for chart in ("cpu_percent", "memory_bytes", "gpu_percent", "gpu_watts"):
        assert pixels(page, chart, "ink-gauge") > 100, chart


def test_without_a_gpu_only_processor_and_memory_are_shown(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['running']}")
    machine = page.get_by_role("region", name="Machine")
    expect(machine.locator("figcaption span")).to_have_text(ALL[:2])
    expect(machine.locator("figcaption b").first).to_contain_text("cores")
    expect(machine.locator("figcaption b").last).to_contain_text("GiB")


def test_a_job_without_measurements_has_no_such_panel(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}")
    page.wait_for_selector('[data-chart="accuracy"] canvas')
    expect(page.locator("[data-gauges]")).to_be_hidden()


def test_pointing_at_one_gauge_tells_the_values_of_all(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['resumed']}")
    over = page.locator('[data-chart="memory_bytes"] .u-over')
    over.scroll_into_view_if_needed()
    last = page.locator('[data-chart="gpu_celsius"] figcaption b').text_content()
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 20)
    expect(page.locator("[data-gauges-when]")).to_contain_text("attempt 1")
    assert page.locator('[data-chart="gpu_celsius"] figcaption b').text_content() != last
    page.mouse.move(5, 5)
    expect(page.locator("[data-gauges-when]")).to_contain_text("attempt 3")


def test_what_is_measured_arrives_live(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["starting"]
    page = open_page(f"/jobs/{job_id}")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN), what="the stream is open")
    expect(page.locator("[data-gauges]")).to_be_hidden()
    for second in (2, 4):
        point = {"attempt": 1, "second": second, "cpu_percent": 150.0, "memory_bytes": 2**30}
        site.publisher.publish(job_id, "gauge", point)
    machine = page.get_by_role("region", name="Machine")
    expect(machine.locator("figcaption b")).to_have_text(["1.5\u202fcores", "1\u202fGiB"])


def test_the_gauges_fit_a_phone(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['troubled']}", viewport=PHONE)
    page.wait_for_selector('[data-chart="gpu_watts"] canvas')
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
