"""The form of an import before anything is sent: names, parts, folders, and what may be chosen."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from shared import catalogue, imports
from tests.browser.conftest import OpenPage, Site, Watch
from tests.browser.test_datasets import begin, choose, claim, read_done, refuse
from tests.sent_files import digits, picture, table
from tests.waiting import wait_until

pytestmark = pytest.mark.browser

# Files of a folder named here wait, or cannot be read, while they are packed.
_HOLD_PACKING = """() => {
  const read = File.prototype.arrayBuffer;
  const gate = new Promise((resolve) => (window.openGate = resolve));
  File.prototype.arrayBuffer = async function () {
    await gate;
    if (this.name === "broken.png") throw new DOMException("No permission.", "NotReadableError");
    return read.call(this);
  };
}"""


def name_field(page: Page) -> Any:
    return page.locator('[data-path="name"]')


def sent_names(page: Page) -> list[str]:
    return list(page.locator("[data-sent] li > span:first-child").all_text_contents())


def folder_of_pictures(tmp_path: Path, name: str, *files: str) -> Path:
    """Write a folder of pictures, a class each."""
    for place, file in enumerate(files):
        path = tmp_path / name / f"class{place}" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(digits(len(files), side=12)["x"][place]))
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("flowers_train.csv", "train"),
        ("train1.csv", "train"),
        ("testData.csv", "test"),
        ("trainset.npz", "train"),
        ("testset.npz", "test"),
        ("training_set.csv", "train"),
        ("val.zip", "train"),
        ("valid.zip", "train"),
        ("validation-images.zip", "train"),
        ("t10k-images-idx3-ubyte.gz", "test"),
        ("train-labels-idx1-ubyte", "train"),
        ("TEST.CSV", "test"),
        ("latest.csv", ""),
        ("contest.csv", ""),
        ("restrained.csv", ""),
        ("train_and_test.npz", ""),
        ("flowers.csv", ""),
    ],
)
def test_a_file_s_name_says_what_it_is_for(module_page: Page, name: str, part: str) -> None:
    found = module_page.evaluate(
        "async (name) => (await import('/static/js/names.js')).partOf(name)", name
    )
    assert found == part


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Flowers_train.csv.gz", "flowers"),
        ("blüten-test.zip", "bluten"),
        ("PetalsTraining_set2.npz", "petals_set2"),
        ("mnist2.npz", "mnist2"),
        ("train.csv", "dataset_2"),
        ("t10k-images-idx3-ubyte.gz", "dataset_2"),
        ("new.csv", "dataset_2"),
    ],
)
def test_a_data_set_s_name_comes_from_the_file_s(module_page: Page, file: str, name: str) -> None:
    yard = {"datasets": ["mnist", "dataset"], "reserved": ["new"]}
    found = module_page.evaluate(
        "async ([file, yard]) => (await import('/static/js/names.js')).nameFrom(file, yard)",
        [file, yard],
    )
    assert found == name


@pytest.fixture
def module_page(open_page: OpenPage) -> Page:
    return open_page("/datasets")


@pytest.fixture
def roses(site: Site) -> Iterator[None]:
    """Have a data set `roses`, whose files are nowhere."""
    begin(site, "roses")
    with site.database.write() as session:
        imports.publish(session, claim(site), read_done(), "datasets/roses")
    yield
    with site.database.write() as session:
        catalogue.delete(session, "roses")


@pytest.mark.usefixtures("roses")
def test_a_name_that_exists_is_told_at_the_field(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, roses_train__csv=table(digits(30)))
    expect(name_field(page)).to_have_value("roses")
    expect(page.get_by_text("this becomes its new version")).to_be_visible()
    name_field(page).fill("tulips")
    expect(page.get_by_text("this becomes its new version")).to_have_count(0)
    name_field(page).fill("mnist")
    expect(page.get_by_text("stays as it is")).to_be_visible()
    name_field(page).fill("new")
    watch.expected.append("422")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Must not be 'new'").first).to_be_visible()


def test_a_public_set_can_be_unchosen(open_page: OpenPage) -> None:
    page = open_page("/datasets/new")
    page.locator('[name="known"][value="kmnist"]').check()
    expect(name_field(page)).to_have_value("kmnist")
    page.get_by_role("radio", name="None of these").check()
    expect(name_field(page)).to_have_value("")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("[data-error-summary]")).to_contain_text("Choose files")


def test_files_of_one_name_are_all_sent(open_page: OpenPage, site: Site, tmp_path: Path) -> None:
    page = open_page("/datasets/new")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        choose(page, tmp_path / folder, same_test__csv=table(digits(30)))
    assert sent_names(page) == ["same_test.csv", "2-same_test.csv"]
    expect(page.locator(".toast")).to_contain_text("sent as 2-same_test.csv")
    page.get_by_role("button", name="Import", exact=True).click()
    ticket = claim(site)
    with site.database.read() as session:
        files = imports.get(session, ticket.id).files
        assert [(file["name"], file["part"]) for file in files] == [
            ("same_test.csv", "test"),
            ("2-same_test.csv", "test"),
        ]
    refuse(site, ticket)
    expect(page.locator("[data-failure]")).to_be_focused()
    page.get_by_role("button", name="Import", exact=True).click()  # what was seen here is dismissed
    again = claim(site)
    with site.database.read() as session:
        failed = [row.files[-1]["name"] for row in imports.failed_lately(session)]
    assert "2-same_test.csv" not in failed
    refuse(site, again)


def test_too_many_files_are_told_before_any_is_sent(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, **{f"f{place}__csv": b"1" for place in range(imports.MOST_FILES + 1)})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("[data-error-summary]")).to_contain_text("at most 64 files: these are 65")
    assert asked == []


def test_an_import_waits_for_a_folder_that_is_being_packed(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    page.evaluate(_HOLD_PACKING)
    page.locator("[data-folder]").set_input_files(folder_of_pictures(tmp_path, "slow", "a.png"))
    expect(page.locator("[data-doing]")).to_have_text("Packing slow")
    name_field(page).fill("slow")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    page.evaluate("openGate()")
    ticket = claim(site)
    with site.database.read() as session:
        (file,) = imports.get(session, ticket.id).files
    with site.store.open(file["path"]) as stored, zipfile.ZipFile(stored) as archive:
        assert archive.namelist() == ["class0/a.png"]
    refuse(site, ticket)


def test_packing_can_be_stopped(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("/datasets/new")
    page.evaluate(_HOLD_PACKING)
    folder = folder_of_pictures(tmp_path, "slow", "a.png", "b.png")
    page.locator("[data-folder]").set_input_files(folder)
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.evaluate("openGate()")
    expect(page.locator("[data-state]")).to_be_hidden()
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_enabled()
    assert sent_names(page) == []


def test_a_file_that_cannot_be_packed_is_named(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("/datasets/new")
    page.evaluate(_HOLD_PACKING)
    folder = folder_of_pictures(tmp_path, "bad", "a.png", "broken.png")
    page.locator("[data-folder]").set_input_files(folder)
    page.evaluate("openGate()")
    expect(page.locator(".toast-bad")).to_contain_text("class1/broken.png cannot be read")
    expect(page.locator("[data-state]")).to_be_hidden()
    assert sent_names(page) == []


def test_stop_is_heard_while_the_server_is_asked(
    open_page: OpenPage, site: Site, tmp_path: Path
) -> None:
    page = open_page("/datasets/new")
    choose(page, tmp_path, early__csv=table(digits(30)))
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/v1/datasets", hold)
    uploads: list[str] = []
    page.on("request", lambda request: uploads.append(request.method))
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator("[data-doing]")).to_have_text("Asking the server")
    wait_until(lambda: page.evaluate("1") and held, what="the server is asked")
    page.get_by_role("button", name="Stop", exact=True).click()
    held[0].continue_()
    expect(page.locator("[data-state]")).to_be_hidden()
    wait_until(lambda: page.evaluate("1") and "DELETE" in uploads, what="it is forgotten")
    assert "PUT" not in uploads
