"""Data sets as people see them: the list, a look at one, another draw, and an import."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from shared import imports
from shared.reading import ReadDone
from shared.spec.dataset_import import DatasetImport
from shared.tickets import Ticket
from tests.browser.conftest import DESKTOP, PHONE, OpenPage, Site, Watch
from tests.sent_files import digits, picture, table
from tests.waiting import wait_until

pytestmark = pytest.mark.browser


def claim(site: Site, page: Page | None = None) -> Ticket:
    """Take the import that the page starts, as a worker would; hear its routes, if it has any."""
    found: list[Ticket] = []

    def claimed() -> bool:
        if page is not None:
            page.evaluate("1")
        with site.database.write() as session:
            ticket = imports.claim(session, "w1", lease_seconds=60)
        found.extend([ticket] if ticket else [])
        return bool(found)

    wait_until(claimed, what="the page starts an import")
    return found[0]


def refuse(site: Site, ticket: Ticket) -> None:
    fault = {
        "file": "petals_train.csv",
        "row": 17,
        "column": "pixel3",
        "value": "dark",
        "rule": "A pixel must be a whole number from 0 to 255.",
    }
    failure = {
        "kind": "data",
        "evidence": "Broken.",
        "suggestion": "Correct the file.",
        "faults": [fault],
    }
    with site.database.write() as session:
        imports.fail(session, ticket, failure)


def choose(page: Page, tmp_path: Path, **files: bytes) -> None:
    paths: list[Path] = []
    for name, content in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_bytes(content)
        paths.append(path)
    page.locator("[data-files]").set_input_files(paths)


def test_the_list_shows_images_and_leads_to_each(open_page: OpenPage) -> None:
    page = open_page("/datasets")
    card = page.locator(".dataset-card").filter(has=page.get_by_role("heading", name="MNIST"))
    strip = card.locator("img.strip")
    wait_until(lambda: strip.evaluate("(one) => one.naturalWidth") == 12 * 28, what="it is drawn")
    card.get_by_role("link", name="Look at it").click()
    expect(page.get_by_role("heading", name="MNIST", level=1)).to_be_visible()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_a_data_set_is_looked_at(open_page: OpenPage, viewport: Any) -> None:
    page = open_page("/datasets/mnist", viewport=viewport)
    expect(page.locator(".findings li")).to_have_count(2)
    expect(page.locator("[data-shots] .shot")).to_have_count(48)
    expect(page.locator(".balance tbody tr")).to_have_count(10)
    expect(page.locator(".verdict")).to_have_text("Balanced")
    expect(page.locator(".shots-means .shot")).to_have_count(10)
    widths = page.locator(".shot img").evaluate_all("(all) => all.map((one) => one.naturalWidth)")
    assert set(widths) == {28}
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def sources(page: Page) -> list[str]:
    images = page.locator("[data-shots] img")
    return list(images.evaluate_all("(all) => all.map((one) => one.src)"))


def test_another_draw_and_the_samples_of_a_class(open_page: OpenPage) -> None:
    page = open_page("/datasets/mnist")
    before = sources(page)
    page.get_by_role("button", name="Draw again").click()
    wait_until(lambda: sources(page) != before, what="other samples are drawn")
    page.get_by_role("button", name="7", exact=True).click()
    expect(page.locator("[data-shots] figcaption").first).to_have_text("7")
    expect(page.locator("[data-class]")).to_have_value("7")
    captions = page.locator("[data-shots] figcaption")
    wait_until(lambda: set(captions.all_text_contents()) == {"7"}, what="only sevens are shown")
    page.locator("[data-part]").select_option("test")
    first = page.locator("[data-shots] .shot").first
    expect(first).to_have_attribute("title", re.compile("test, row"))


def test_the_form_of_a_job_starts_from_the_data_set(open_page: OpenPage) -> None:
    page = open_page("/datasets/mnist")
    page.get_by_role("link", name="Train on it").click()
    expect(page.locator('[data-path="spec.dataset.name"]')).to_have_value("mnist")


def test_files_are_sent_followed_and_arrive(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, flowers_train__csv=table(digits(30)), flowers_test__csv=table(digits(9)))
    expect(page.locator("[data-sent] li")).to_have_count(2)
    parts = page.locator("[data-sent] select").evaluate_all("(all) => all.map((one) => one.value)")
    assert parts == ["train", "test"]
    expect(page.locator('[data-path="name"]')).to_have_value("flowers")
    page.get_by_role("button", name="Import").click()
    ticket = claim(site)
    with site.database.write() as session:
        row = imports.get(session, ticket.id)
        assert [(file["name"], file["part"]) for file in row.files] == [
            ("flowers_train.csv", "train"),
            ("flowers_test.csv", "test"),
        ]
        progress = {"doing": "Reading: 20 images", "share": 0.5}
        imports.renew(session, ticket, lease_seconds=60, progress=progress)
    expect(page.locator("[data-doing]")).to_have_text("Reading: 20 images")
    done = read_done()
    with site.database.write() as session:
        imports.publish(session, ticket, done, "bundled:mnist")
    expect(page.get_by_role("heading", name="flowers", level=1)).to_be_visible()
    expect(page.get_by_text("A note.")).to_be_visible()


def read_done() -> ReadDone:
    """Return MNIST's content as a reader's answer, for it can be shown without a worker."""
    from shared.datasets.bundled import BUNDLED

    mnist = BUNDLED["mnist"]
    content = mnist.content.as_dict()
    return ReadDone(**content, report=mnist.report(), notes=["A note."])  # type: ignore[arg-type]


def test_what_cannot_be_read_is_told_cell_by_cell(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, petals_train__csv=b"bad")
    page.get_by_role("button", name="Import").click()
    refuse(site, claim(site))
    panel = page.locator("[data-failure]")
    expect(panel).to_be_focused()
    cells = panel.locator("tbody td")
    expect(cells).to_have_text(
        [
            "petals_train.csv",
            "17",
            "pixel3",
            "dark",
            "A pixel must be a whole number from 0 to 255.",
        ]
    )
    expect(page.get_by_role("button", name="Import")).to_be_enabled()


def test_a_folder_is_sent_as_a_zip_that_can_be_read(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    images = digits(6, side=12)["x"]
    for place, image in enumerate(images):
        path = tmp_path / "blüten" / ("rose", "tulip")[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(image))
    (tmp_path / "blüten" / ".hidden").write_bytes(b"x")
    page = open_page("/datasets/new")
    page.locator("[data-folder]").set_input_files(tmp_path / "blüten")
    expect(page.locator("[data-sent] li")).to_contain_text("blüten.zip")
    page.locator('[data-path="name"]').fill("zipped")
    page.get_by_role("button", name="Import").click()
    ticket = claim(site)
    with site.database.read() as session:
        (file,) = imports.get(session, ticket.id).files
    with site.store.open(file["path"]) as stored, zipfile.ZipFile(stored) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            *(f"rose/{place}.png" for place in (0, 2, 4)),
            *(f"tulip/{place}.png" for place in (1, 3, 5)),
        ]
        assert archive.read("rose/0.png") == picture(images[0])
    refuse(site, ticket)
    expect(page.locator("[data-failure]")).to_be_focused()


def test_what_is_missing_or_wrong_is_told_at_its_field(open_page: OpenPage, watch: Watch) -> None:
    page = open_page("/datasets/new")
    page.get_by_role("button", name="Import").click()
    expect(page.locator("[data-error-summary]")).to_contain_text("Choose files")
    page.locator('[name="known"][value="fashion_mnist"]').check()
    expect(page.locator('[data-path="name"]')).to_have_value("fashion_mnist")
    page.locator('[data-path="name"]').fill("No Name")
    watch.expected.append("422")
    page.get_by_role("button", name="Import").click()
    expect(page.locator('[data-path="name"]')).to_have_attribute("aria-invalid", "true")


def test_an_import_can_be_stopped(open_page: OpenPage, site: Site, tmp_path: Path) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, a__csv=table(digits(30)))
    page.get_by_role("button", name="Import").click()
    ticket = claim(site)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-state]")).to_be_hidden()
    wait_until(lambda: not exists(site, ticket.id), what="the import is forgotten")


class Trouble:
    """A network that loses or breaks the answers about imports while `on`.

    Attributes:
        asked: method and end of the path of each request.
        on: whether it is in trouble now.
    """

    def __init__(self, page: Page, watch: Watch) -> None:
        self.asked: list[str] = []
        self.on = True
        self._turn = 0
        watch.expected.append("Failed to load resource")
        page.route(re.compile(r"/api/v1/imports/\d+(/start)?$"), self._handle)

    def _handle(self, route: Route) -> None:
        self.asked.append(f"{route.request.method} {route.request.url.rpartition('/')[2]}")
        self._turn += 1
        if not self.on or route.request.method == "DELETE":
            route.continue_()
        elif route.request.method == "POST":
            route.fetch()  # the server hears it; its answer is lost
            route.abort()
        elif self._turn % 2:
            route.abort("connectionreset")
        else:
            route.fulfill(status=502, body="Bad Gateway", content_type="text/html")

    @property
    def forgotten(self) -> bool:
        """Whether the page gave the import up."""
        return any(one.startswith("DELETE") for one in self.asked)


def test_a_server_that_is_away_for_a_moment_ends_no_import(
    open_page: OpenPage, site: Site, watch: Watch, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, steady__csv=table(digits(30)))
    trouble = Trouble(page, watch)
    page.get_by_role("button", name="Import").click()
    ticket = claim(site, page)
    expect(page.locator("[data-doing]")).to_have_text("The server is away; looking again")
    wait_until(lambda: page.evaluate("1") and len(trouble.asked) > 4, what="it looks again")
    trouble.on = False
    progress = {"doing": "Reading: 20 images", "share": 0.5}
    with site.database.write() as session:
        imports.renew(session, ticket, lease_seconds=60, progress=progress)
    expect(page.locator("[data-doing]")).to_have_text("Reading: 20 images")
    with site.database.write() as session:
        imports.publish(session, ticket, read_done(), "bundled:mnist")
    expect(page.get_by_role("heading", name="steady", level=1)).to_be_visible()
    assert not trouble.forgotten


def test_a_server_that_stays_away_is_told_and_its_import_left_to_go_on(
    open_page: OpenPage, site: Site, watch: Watch, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    page.clock.install()
    choose(page, tmp_path, patient__csv=table(digits(30)))
    trouble = Trouble(page, watch)
    page.get_by_role("button", name="Import").click()
    ticket = claim(site, page)
    expect(page.locator("[data-doing]")).to_have_text("The server is away; looking again")
    page.clock.fast_forward("01:05")
    expect(page.locator(".toast-bad")).to_contain_text("it goes on")
    assert not trouble.forgotten
    refuse(site, ticket)


def test_stop_ends_an_import_also_while_the_server_is_away(
    open_page: OpenPage, site: Site, watch: Watch, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, halted__csv=table(digits(30)))
    trouble = Trouble(page, watch)
    page.get_by_role("button", name="Import").click()
    ticket = claim(site, page)
    expect(page.locator("[data-doing]")).to_have_text("The server is away; looking again")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-state]")).to_be_hidden()
    wait_until(lambda: page.evaluate("1") and trouble.forgotten, what="the import is given up")
    wait_until(lambda: not exists(site, ticket.id), what="the import is forgotten")


def exists(site: Site, import_id: int) -> bool:
    with site.database.read() as session:
        return import_id in [row.id for row in imports.recent(session, 50)]


def begin(site: Site, name: str) -> int:
    """Begin an import as somebody else would, with a file, and start it."""
    with site.database.write() as session:
        import_id = imports.begin(session, DatasetImport(name=name), actor="API, 10.0.0.7").id
        file = {"name": "a.csv", "part": None, "bytes": 1, "sha256": "0" * 64, "path": "uploads/0"}
        imports.add_file(session, import_id, file)
        imports.start(session, import_id)
    return import_id


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE])
def test_the_list_shows_what_runs_waits_and_has_failed(
    open_page: OpenPage, site: Site, viewport: Any
) -> None:
    begin(site, "broken")
    refuse(site, claim(site))
    running = begin(site, "running")
    ticket = claim(site)
    waiting = begin(site, "waiting")
    page = open_page("/datasets", viewport=viewport)
    failed, other = (
        page.get_by_role("region", name=f"{name}: the files could not be read")
        for name in ("broken", "running")
    )
    expect(failed).to_contain_text("by API, 10.0.0.7")
    expect(failed).to_contain_text("Correct the file.")
    failed.locator("summary").click()
    expect(failed.locator("tbody td").first).to_have_text("petals_train.csv")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    expect(page.get_by_label("Import of waiting", exact=True)).to_contain_text("1 import ahead")
    refuse(site, ticket)  # so that the list of failed ones is drawn anew
    expect(other).to_be_visible()
    expect(failed.locator("details")).to_have_attribute("open", "")
    page.get_by_role("button", name="Stop the import of waiting").click()
    page.get_by_role("button", name="Stop the import", exact=True).click()
    expect(page.get_by_label("Import of waiting", exact=True)).to_have_count(0)
    for one in (failed, other):
        one.get_by_role("button", name="Dismiss").click()
        expect(one).to_have_count(0)
    assert not any(exists(site, one) for one in (running, waiting))
