"""The form of a new job: everything of the schema, errors beside their fields, nothing lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from shared.filters import spec_paths
from shared.models import Job
from shared.spec.presets import PRESETS
from tests.browser.conftest import PHONE, OpenPage, Site

pytestmark = pytest.mark.browser

START = "Start training"
JOB_URL = re.compile(r"/jobs/\d+$")


def field(page: Page, path: str) -> Any:
    return page.locator(f'[data-path="{path}"]:not(:disabled)')


def jobs_after(site: Site, job_id: int) -> list[int]:
    """Return the numbers of the jobs that have come since a job."""
    with site.database.read() as session:
        return list(session.scalars(sa.select(Job.id).where(Job.id > job_id)))


def newest_job(site: Site) -> Job:
    with site.database.read() as session:
        job = session.scalar(sa.select(Job).order_by(Job.id.desc()).limit(1))
        assert job is not None
        return job


def test_every_field_of_a_spec_is_in_the_form_and_explained(open_page: OpenPage) -> None:
    page = open_page("/jobs/new")
    found = page.locator("[data-path]").evaluate_all("nodes => nodes.map(n => n.dataset.path)")
    assert spec_paths() <= {path.removeprefix("spec.") for path in found}
    unlabelled = page.locator("[data-path]").evaluate_all(
        "nodes => nodes.filter(n => !n.labels.length).map(n => n.id)"
    )
    assert not unlabelled
    helps = page.locator(".field .help").all_text_contents()
    assert all(text.strip() for text in helps)


def test_a_preset_fills_the_form_and_can_be_undone(open_page: OpenPage) -> None:
    page = open_page("/jobs/new")
    field(page, "name").fill("mine")
    field(page, "spec.epochs").fill("77")
    page.get_by_role("radio", name="Deeper network").check()
    expect(field(page, "spec.model.kind")).to_have_value("deep_cnn")
    expect(field(page, "spec.model.blocks")).to_have_value("32, 64")
    expect(field(page, "spec.epochs")).to_have_value("12")
    expect(field(page, "name")).to_have_value("mine")
    page.get_by_role("button", name="Undo").click()
    expect(field(page, "spec.model.kind")).to_have_value("shallow_cnn")
    expect(field(page, "spec.epochs")).to_have_value("77")


def test_the_chosen_kind_decides_which_fields_there_are(open_page: OpenPage) -> None:
    page = open_page("/jobs/new")
    expect(field(page, "spec.model.filters")).to_be_visible()
    field(page, "spec.model.kind").select_option("mlp")
    expect(field(page, "spec.model.hidden_units")).to_be_visible()
    expect(page.get_by_label("Filters").and_(field(page, "spec.model.filters"))).to_have_count(0)
    expect(page.get_by_label("Validation share")).to_be_hidden()
    field(page, "spec.evaluate_on").select_option("validation")
    expect(page.get_by_label("Validation share")).to_be_visible()


def test_the_panel_previews_layers_and_learning_rate(open_page: OpenPage) -> None:
    page = open_page("/jobs/new")
    layers = page.locator("[data-layers] tr")
    expect(layers.first).to_contain_text("26 × 26 × 28")
    field(page, "spec.model.filters").fill("8")
    expect(layers.first).to_contain_text("26 × 26 × 8")
    expect(page.locator("[data-rates-words]")).to_have_text("0.001 to 0.0003874")
    field(page, "spec.epochs").fill("3")
    expect(page.locator("[data-rates-words]")).to_have_text("0.001 to 0.00081")


@pytest.mark.parametrize(
    ("kind", "words", "peak"),
    [
        ("constant", "0.001", 0.0),
        ("step", "0.001 to 0.0001", 0.0),
        ("cosine", "0.001 to 0", 0.0),
        ("warmup_cosine", "0.0001 → 0.001 → 0", 0.083),
        ("one_cycle", "0.00004 → 0.001 → 4e-9", 0.3),
        ("plateau", "0.001, × 0.2 when stuck", 0.0),
    ],
)
def test_every_schedule_is_drawn_for_the_chosen_epochs(
    kind: str, words: str, peak: float, open_page: OpenPage
) -> None:
    page = open_page("/jobs/new")
    field(page, "spec.epochs").fill("12")
    field(page, "spec.schedule.kind").select_option(kind)
    expect(page.locator("[data-rates-words]")).to_have_text(words)
    expect(page.locator("[data-rates-end]")).to_have_text("epoch 12")
    path = page.locator(".rates-line").get_attribute("d") or ""
    points = [tuple(map(float, pair.split(","))) for pair in path[1:].split("L")]
    highest = min(points, key=lambda point: (point[1], point[0]))
    assert highest[0] / 300 == pytest.approx(peak, abs=0.01)


def test_augmentation_is_chosen_with_its_own_fields(open_page: OpenPage, watch: Any) -> None:
    watch.expected.append("422")
    page = open_page("/jobs/new")
    expect(page.get_by_label("Turn by up to")).to_be_hidden()
    field(page, "spec.preprocessing.augmentation.kind").select_option("affine")
    turn = page.get_by_label("Turn by up to")
    expect(turn).to_be_visible()
    turn.fill("270")
    expect(page.locator("[data-state]")).to_contain_text("Turn by up to")


def test_errors_stand_beside_their_fields_and_nothing_is_lost(
    open_page: OpenPage, watch: Any
) -> None:
    watch.expected.append("422")
    page = open_page("/jobs/new")
    field(page, "name").fill("precious")
    field(page, "tags").fill("one, two")
    field(page, "spec.learning_rate").fill("-0.5")
    field(page, "spec.epochs").fill("many")
    field(page, "spec.model.filters").fill("0")
    page.get_by_role("button", name=START).click()
    summary = page.locator("[data-error-summary]")
    expect(summary).to_contain_text("3 fields need another value")
    for path in ("spec.learning_rate", "spec.epochs", "spec.model.filters"):
        control = field(page, path)
        expect(control).to_have_attribute("aria-invalid", "true")
        message = control.get_attribute("aria-describedby").split()[0]
        expect(page.locator(f"#{message}")).to_be_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    expect(field(page, "name")).to_have_value("precious")
    expect(field(page, "tags")).to_have_value("one, two")
    expect(field(page, "spec.learning_rate")).to_have_value("-0.5")
    summary.get_by_role("link", name="Epochs").click()
    expect(field(page, "spec.epochs")).to_be_focused()
    field(page, "spec.epochs").fill("5")
    expect(field(page, "spec.epochs")).not_to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("path", "typed", "sent"),
    [
        ("spec.epochs", "1,000", 1000),
        ("spec.seed", "2,147,483,647", 2_147_483_647),
        ("spec.epochs", "1,5", "1,5"),
        ("spec.epochs", "0,001", "0,001"),
        ("spec.learning_rate", "0,001", 0.001),
        ("spec.learning_rate", "1,5e-3", 0.0015),
        ("spec.learning_rate", "1,000", "1,000"),
    ],
)
def test_a_comma_is_never_guessed(
    path: str, typed: str, sent: Any, open_page: OpenPage, watch: Any
) -> None:
    watch.expected.append("422")
    page = open_page("/jobs/new")
    with page.expect_request(lambda request: f"typed {typed}" in str(request.post_data)) as asked:
        field(page, path).fill(typed)
        field(page, "name").fill(f"typed {typed}")
    body = json.loads(asked.value.post_data or "")
    assert body["spec"][path.removeprefix("spec.")] == sent


def test_an_error_in_a_folded_field_unfolds_it(open_page: OpenPage, watch: Any) -> None:
    watch.expected.append("422")
    page = open_page("/jobs/new")
    hidden = field(page, "spec.resources.checkpoint_seconds")
    expect(hidden).to_be_hidden()
    hidden.evaluate("node => { node.value = '0' }")
    page.get_by_role("button", name=START).click()
    expect(hidden).to_be_visible()
    expect(hidden).to_be_focused()


def test_a_model_that_does_not_fit_the_images_is_named_at_its_field(
    open_page: OpenPage, watch: Any
) -> None:
    watch.expected.append("422")
    page = open_page("/jobs/new?preset=deep-cnn")
    field(page, "spec.model.blocks").fill("8, 8, 8, 8, 8, 8")
    expect(page.locator("[data-state]")).to_contain_text("Blocks")
    page.get_by_role("button", name=START).click()
    expect(field(page, "spec.model.blocks")).to_have_attribute("aria-invalid", "true")


def test_sending_twice_makes_one_job_with_what_was_typed(open_page: OpenPage, site: Site) -> None:
    page = open_page("/jobs/new?preset=mlp")
    before = newest_job(site).id
    field(page, "name").fill("twice")
    field(page, "tags").fill("a, b")
    field(page, "spec.model.hidden_units").fill("64, 32")
    field(page, "spec.seed").fill("9")
    page.get_by_role("button", name=START).dblclick()
    page.wait_for_url(JOB_URL)
    job = newest_job(site)
    assert jobs_after(site, before) == [job.id]
    assert (job.name, job.tags, job.preset) == ("twice", ["a", "b"], "mlp")
    preset = PRESETS["mlp"].spec.model_dump(mode="json")
    preset["model"] |= {"hidden_units": [64, 32]}
    preset["dataset"]["version"] = job.dataset_version
    assert job.spec == preset | {"seed": 9}


def test_clone_and_edit_starts_from_the_job_and_remembers_it(
    open_page: OpenPage, site: Site
) -> None:
    page = open_page(f"/jobs/new?clone={site.ids['failed']}")
    expect(field(page, "name")).to_have_value("adam-at-1.0")
    expect(field(page, "spec.optimizer.kind")).to_have_value("adam")
    expect(field(page, "spec.learning_rate")).to_have_value("1")
    field(page, "spec.learning_rate").fill("0.1")
    page.get_by_role("button", name=START).click()
    page.wait_for_url(JOB_URL)
    job = newest_job(site)
    assert job.parent_id == site.ids["failed"]
    assert job.learning_rate == 0.1


def test_a_server_that_is_away_costs_nothing_that_was_typed(
    open_page: OpenPage, watch: Any
) -> None:
    watch.expected.append("ERR_FAILED")
    page = open_page("/jobs/new")
    field(page, "name").fill("kept")
    page.route("**/api/v1/jobs", lambda route: route.abort())
    page.get_by_role("button", name=START).click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(field(page, "name")).to_have_value("kept")
    expect(page.get_by_role("button", name=START)).to_be_enabled()


def test_what_a_page_asks_for_is_marked_as_such(open_page: OpenPage) -> None:
    page = open_page("/jobs/new")
    with page.expect_request("**/validate") as asked:
        field(page, "name").fill("mine")
    assert asked.value.headers["x-requested-with"] == "trainyard-page"


def test_the_keyboard_alone_can_start_a_job(open_page: OpenPage, site: Site) -> None:
    page = open_page("/jobs/new?preset=lenet5")
    before = newest_job(site).id
    field(page, "name").focus()
    page.keyboard.type("by-keyboard")
    page.keyboard.press("Enter")
    page.wait_for_url(JOB_URL)
    assert len(jobs_after(site, before)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("preset", ["hello-world", "deep-cnn"])
def test_the_form_fits_a_phone(open_page: OpenPage, scheme: str, preset: str) -> None:
    page = open_page(f"/jobs/new?preset={preset}", scheme=scheme, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(page.get_by_role("button", name=START)).to_be_visible()
