"""The whole way of a job in one sitting: the form, a real worker, a growing curve, cancel, list."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import OpenPage, Watch, opened_pages, pixels
from tests.waiting import wait_until
from tests.yard import RunningYard, running_yard

pytestmark = [pytest.mark.browser, pytest.mark.training, pytest.mark.timeout(300)]

# TensorFlow is imported and the first epochs trained on whatever machine this is.
TRAINING_MS = 120_000
CANCEL_MS = 30_000
JOB_URL = re.compile(r"/jobs/\d+$")


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningYard]:
    """Run a whole yard with one worker."""
    with running_yard(tmp_path_factory.mktemp("yard")) as running:
        yield running


@pytest.fixture
def open_yard(browser: Browser, yard: RunningYard, watch: Watch) -> Iterator[OpenPage]:
    """Open pages of the running yard."""
    with opened_pages(browser, yard.url, watch) as opener:
        yield opener


def submit(page: Page, name: str, **values: str) -> None:
    page.get_by_label("Name").fill(name)
    for path, value in values.items():
        page.locator(f'[data-path="spec.{path}"]:not(:disabled)').fill(value)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(JOB_URL)


def test_the_empty_list_starts_hello_world_by_one_button_and_cancels_it(
    open_yard: OpenPage,
) -> None:
    page = open_yard("/")
    page.get_by_role("button", name="Start hello-world").click()
    page.wait_for_url(JOB_URL)
    expect(page.get_by_role("heading", level=1)).to_have_text("hello-world")
    expect(page.locator("[data-phase]")).to_contain_text("Training, step", timeout=TRAINING_MS)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".status")).to_have_text("Cancelled", timeout=CANCEL_MS)


def test_the_curve_of_a_submitted_job_grows_until_it_is_cancelled(open_yard: OpenPage) -> None:
    page = open_yard("/jobs/new?preset=mlp")
    submit(page, "grows-and-stops", epochs="1000", train_fraction="0.1")
    page.evaluate("window.stayed = true")
    legend = page.locator('[data-chart="accuracy"] .legend-item.ink-eval b')
    expect(legend).to_have_text(re.compile(r"\d\d\.\d\d"), timeout=TRAINING_MS)
    page.wait_for_selector('[data-chart="accuracy"] canvas')
    before = pixels(page, "accuracy", "ink-eval")
    wait_until(
        lambda: pixels(page, "accuracy", "ink-eval") > before + 200,
        TRAINING_MS / 1000,
        what="the curve has grown",
    )
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".status")).to_have_text("Cancelled", timeout=CANCEL_MS)
    assert page.evaluate("window.stayed"), "the page was reloaded"
    page.get_by_role("link", name="Jobs", exact=True).first.click()
    line = page.locator("tr", has_text="grows-and-stops")
    expect(line).to_contain_text("Cancelled")
    expect(line.locator(".spark polyline")).to_have_count(2)


def test_a_job_that_ends_shows_everything_it_left(open_yard: OpenPage) -> None:
    page = open_yard("/jobs/new?preset=less-data")
    submit(page, "ends", epochs="2")
    expect(page.locator(".status")).to_have_text("Succeeded", timeout=TRAINING_MS)
    expect(page.locator(".figure-main")).to_contain_text(re.compile(r"\d\d\.\d\d"))
    expect(page.get_by_role("region", name="Confusion matrix").locator("td.hit")).to_have_count(10)
    files = page.get_by_role("region", name="Artifacts")
    for name in ("model.keras", "model.tflite", "history.csv"):
        expect(files).to_contain_text(name)
    expect(page.get_by_role("region", name="Layers")).to_contain_text("Conv2D")
