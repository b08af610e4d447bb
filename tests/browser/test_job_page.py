"""The job page: curves first, and everything that explains them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Route, expect

from shared.models import Epoch, Job
from shared.records import epoch_row
from tests.browser.conftest import PHONE, OpenPage, Site, pixels
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

STREAM_IS_OPEN = "performance.getEntriesByName('stream-open').length > 0"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_curves_are_drawn_in_the_tutorials_colours(
    open_page: OpenPage, site: Site, scheme: str
) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}", scheme=scheme)
    page.wait_for_selector('[data-chart="accuracy"] canvas')
    for chart, ink in (
        ("accuracy", "ink-train"),
        ("accuracy", "ink-eval"),
        ("loss", "ink-train"),
        ("loss", "ink-eval"),
        ("rate", "ink-rate"),
    ):
        assert pixels(page, chart, ink) > 100, (chart, ink)


def test_the_curves_are_in_the_first_screen(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['running']}")
    box = page.locator('[data-chart="accuracy"]').bounding_box()
    assert box is not None
    assert box["width"] > 700
    assert box["y"] + box["height"] < 900


def test_a_single_epoch_is_a_visible_point(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['single']}")
    assert pixels(page, "accuracy", "ink-train") > 10
    assert pixels(page, "accuracy", "ink-eval") > 10


def test_the_tooltip_names_epoch_and_values(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}")
    over = page.locator('[data-chart="accuracy"] .u-over')
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 40)
    tooltip = page.locator('[data-chart="accuracy"] .tooltip')
    expect(tooltip).to_contain_text("Epoch 10")
    with site.database.read() as session:
        last = session.get(Epoch, (site.ids["succeeded"], 10))
        assert last is not None
        expect(tooltip).to_contain_text(f"{100 * last.eval_accuracy:.2f}")


def test_dragging_zooms_all_charts_and_the_button_resets(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}")
    box = page.locator('[data-chart="accuracy"] .u-over').bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=5)
    page.mouse.up()
    buttons = page.get_by_role("button", name="Reset zoom")
    expect(buttons).to_have_count(3)
    buttons.first.click()
    expect(buttons).to_have_count(0)


def test_the_epochs_are_also_a_table(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}")
    page.get_by_text("Epochs as a table").click()
    rows = page.get_by_role("region", name="Epochs").get_by_role("row")
    expect(rows).to_have_count(11)
    expect(rows.nth(1)).to_contain_text("10")


def test_a_failed_job_shows_kind_evidence_and_what_to_try(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['failed']}")
    panel = page.get_by_role("region", name="Training diverged")
    expect(panel).to_contain_text("NaN at epoch 3, step 214")
    expect(panel).to_contain_text("Try a tenth of the learning rate")


def test_a_finished_job_shows_what_it_left(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['succeeded']}")
    expect(page.get_by_role("region", name="Confusion matrix").locator("td.hit")).to_have_count(10)
    expect(page.locator("[data-log]")).to_contain_text("Wrote the artifacts.")
    with page.expect_download() as download:
        page.get_by_role("link", name="history.csv").click()
    assert download.value.suggested_filename == "history.csv"


def test_lost_attempts_are_told(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['resumed']}")
    attempts = page.get_by_role("region", name="Attempts", exact=True)
    expect(attempts.get_by_role("row")).to_have_count(4)
    expect(attempts).to_contain_text("lost")
    expect(page.get_by_role("region", name="Events")).to_contain_text("No heartbeat for 20 s.")


def test_what_it_takes_to_train_the_same_again_is_folded_away(
    open_page: OpenPage, site: Site
) -> None:
    job_id = site.ids["succeeded"]
    page = open_page(f"/jobs/{job_id}")
    record = page.locator(".reproduce")
    expect(record).to_be_hidden()
    page.get_by_text("Reproduce").click()
    expect(record).to_contain_text(f"trainyard retry {job_id}")
    expect(record).to_contain_text("trainyard submit --preset hello-world")
    for words in ("Seed", "AMD EPYC 9354", "TensorFlow", "cuDNN", "580.95.05", "0.1.0+c8221fc"):
        expect(record).to_contain_text(words)


def test_what_differs_from_the_preset_is_marked(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['failed']}")
    marked = page.locator(".changed dt").all_text_contents()
    assert marked == ["Learning rate"]


def test_progress_and_epochs_arrive_live(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["running"]
    page = open_page(f"/jobs/{job_id}")
    page.evaluate("window.stayed = true")
    expect(page.locator("[data-phase]")).to_have_text("Training, step 372 of 600")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN), what="the stream is open")
    publish_progress(site, job_id, step=480)
    expect(page.locator("[data-phase]")).to_have_text("Training, step 480 of 600")
    epoch = add_epoch(site, job_id, 7)
    try:
        expect(page.locator('[data-region="figures"]')).to_contain_text("99.50", timeout=15_000)
        expect(page.locator('[data-chart="accuracy"] .legend')).to_contain_text("99.50")
        expect(page.locator("[data-announce]")).to_contain_text("Epoch 7")
        assert page.evaluate("window.stayed")
    finally:
        with site.database.write() as session:
            session.delete(epoch)
        site.change(job_id, epochs_done=6)


def test_log_lines_arrive_live(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['running']}")
    expect(page.locator("[data-speed]")).to_contain_text("images/s")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN), what="the stream is open")
    site.publisher.publish(site.ids["running"], "log", {"lines": ["a line", "<b>bold</b>"]})
    expect(page.locator("[data-log]")).to_contain_text("a line\n<b>bold</b>")


def test_lines_that_come_while_the_log_is_fetched_stay(open_page: OpenPage, site: Site) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page = open_page("/")
    page.route("**/log?*", hold)
    page.goto(f"/jobs/{site.ids['running']}")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN) and bool(held), what="stream and fetch wait")
    site.publisher.publish(site.ids["running"], "log", {"lines": ["both have it", "only live"]})
    expect(page.locator("[data-log]")).to_have_text("both have it\nonly live")
    held[0].fulfill(body="an earlier line\nboth have it\n")
    expect(page.locator("[data-log]")).to_have_text("an earlier line\nboth have it\nonly live")


def test_a_change_by_somebody_else_is_shown(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["running"]
    page = open_page(f"/jobs/{job_id}")
    wait_until(lambda: page.evaluate(STREAM_IS_OPEN), what="the stream is open")
    site.change(job_id, name="renamed by another", tags=["new"])
    try:
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_have_text("renamed by another", timeout=15_000)
    finally:
        site.change(job_id, name="deep-cnn-augmented", tags=["baseline", "week-48"])


def test_without_a_stream_the_page_polls(open_page: OpenPage, site: Site, watch: Any) -> None:
    watch.expected.append("503")
    job_id = site.ids["starting"]
    page = open_page("/datasets")
    page.route("**/stream*", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(f"/jobs/{job_id}")
    site.change(job_id, name="renamed meanwhile")
    try:
        expect(page.get_by_role("heading", level=1)).to_have_text(
            "renamed meanwhile", timeout=15_000
        )
    finally:
        site.change(job_id, name="lenet5")


def test_cancelling_asks_first(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['starting']}")
    page.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Training stops")
    expect(dialog.get_by_role("button", name="Keep training")).to_be_focused()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".status")).to_have_text("Cancelling", timeout=15_000)
    site.change(site.ids["starting"], cancel_requested_at=None)


def test_run_again_opens_the_new_job(open_page: OpenPage, site: Site) -> None:
    page = open_page(f"/jobs/{site.ids['early']}")
    page.get_by_role("button", name="Run again").click()
    expect(page).not_to_have_url(re.compile(f"/jobs/{site.ids['early']}$"))
    expect(page.locator(".crumbs")).to_contain_text(f"from #{site.ids['early']}")


@pytest.mark.parametrize("name", ["running", "succeeded", "failed", "queued", "resumed"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(open_page: OpenPage, site: Site, name: str, scheme: str) -> None:
    page = open_page(f"/jobs/{site.ids[name]}", scheme=scheme, viewport=PHONE)
    page.wait_for_selector('[data-chart="accuracy"] canvas')
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_job_of_many_epochs_stays_a_small_page(open_page: OpenPage, site: Site) -> None:
    job_id = site.ids["cancelled"]
    with site.database.write() as session:
        template = session.get(Epoch, (job_id, 3))
        assert template is not None
        values = {name: getattr(template, name) for name in epoch_row(template)}
        session.execute(
            sa.insert(Epoch),
            [values | {"job_id": job_id, "epoch": number} for number in range(4, 5001)],
        )
    page = open_page(f"/jobs/{job_id}")
    assert pixels(page, "accuracy", "ink-eval") > 100
    assert len(page.content()) < 150_000
    with site.database.write() as session:
        session.execute(sa.delete(Epoch).where(Epoch.job_id == job_id, Epoch.epoch > 3))


def publish_progress(site: Site, job_id: int, **changes: Any) -> None:
    with site.database.read() as session:
        job = session.get(Job, job_id)
        assert job is not None
        assert job.progress is not None
        site.publisher.publish(job_id, "progress", job.progress | changes)


def add_epoch(site: Site, job_id: int, number: int) -> Epoch:
    """Record an epoch as a worker does: row, the job's figures, message."""
    epoch = Epoch(
        job_id=job_id,
        epoch=number,
        attempt=1,
        train_accuracy=0.9961,
        train_loss=0.011,
        eval_accuracy=0.9950,
        eval_loss=0.019,
        learning_rate=0.0002,
        seconds=20.0,
        images_per_second=3000.0,
        recorded_at=datetime.now(UTC),
        extra=None,
    )
    with site.database.write() as session:
        session.add(epoch)
    row = json.loads(json.dumps(epoch_row(epoch)))
    site.change(job_id, epochs_done=number, best_eval_accuracy=0.9950, final_eval_accuracy=0.9950)
    site.publisher.publish(job_id, "epoch", row)
    return epoch
