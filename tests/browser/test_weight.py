"""How much a page moves over the wire with a cold cache (design.md: less than 250 KB)."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import DESKTOP, Site

pytestmark = pytest.mark.browser

MAX_BYTES = 250_000


def bytes_moved(browser: Browser, url: str, ready: str) -> int:
    """Open a page in a fresh profile; count all bytes until what `ready` selects is there."""
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    moved: list[int] = []
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")

    def on_finished(event: dict[str, Any]) -> None:
        moved.append(int(event["encodedDataLength"]))

    devtools.on("Network.loadingFinished", on_finished)
    page.goto(url)
    page.wait_for_selector(ready)
    context.close()
    assert len(moved) > 3
    return sum(moved)


def test_the_list_of_fifty_jobs_is_light(browser: Browser, site: Site) -> None:
    assert bytes_moved(browser, site.url, "[data-rows] tr:nth-child(50)") < MAX_BYTES


@pytest.mark.parametrize("name", ["running", "succeeded", "resumed"])
def test_the_job_page_with_its_curves_is_light(browser: Browser, site: Site, name: str) -> None:
    url = f"{site.url}/jobs/{site.ids[name]}"
    assert bytes_moved(browser, url, '[data-chart="rate"] canvas') < MAX_BYTES


def test_the_form_is_light(browser: Browser, site: Site) -> None:
    assert bytes_moved(browser, f"{site.url}/jobs/new", "[data-layers] tr") < MAX_BYTES
