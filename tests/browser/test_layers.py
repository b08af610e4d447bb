"""The editor of a list of layers: every change by button and by keyboard, errors at the layer."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from shared.spec.presets import PRESETS
from tests.browser.conftest import PHONE, OpenPage, Site
from tests.browser.test_form import JOB_URL, START, newest_job

pytestmark = pytest.mark.browser

PRESET = PRESETS["layers"].spec.model_dump(mode="json")["model"]["layers"]


def row(page: Page, place: int) -> Locator:
    return page.locator("[data-layer-rows] > li").nth(place - 1)


def tool(page: Page, place: int, words: str) -> Locator:
    return row(page, place).get_by_role("button", name=words)


def kinds(page: Page) -> list[str]:
    """Return the kinds of the layers as they would be sent."""
    text = page.locator('[data-path="spec.model.layers"]').input_value()
    return [layer["kind"] for layer in json.loads(text)]


@pytest.fixture
def editor(open_page: OpenPage) -> Page:
    """Open the form on three layers: convolution, pooling, global pooling."""
    page = open_page("/jobs/new?preset=layers")
    # However slow the machine is: what is left after each click fits together.
    for _ in range(len(PRESET) - 4):
        tool(page, 2, "Remove").click()
    row(page, 3).get_by_label("Kind of layer").select_option("global_pool")
    tool(page, 4, "Remove").click()
    assert kinds(page) == ["conv", "pool", "global_pool"]
    return page


def test_a_preset_becomes_rows_with_their_outputs(open_page: OpenPage) -> None:
    page = open_page("/jobs/new")
    page.get_by_role("radio", name="Your own layers").check()
    expect(page.locator("[data-layer-rows] > li")).to_have_count(len(PRESET))
    expect(row(page, 1)).to_contain_text("28 × 28 × 32")
    expect(row(page, 1)).to_contain_text("320 parameters")
    expect(row(page, 4)).to_contain_text("14 × 14 × 32")
    expect(page.locator("[data-memory]")).to_contain_text("of memory to train")
    assert kinds(page) == [layer["kind"] for layer in PRESET]


def test_buttons_add_move_repeat_and_remove(editor: Page) -> None:
    editor.get_by_role("button", name="Dropout", exact=True).click()
    assert kinds(editor) == ["conv", "pool", "global_pool", "dropout"]
    tool(editor, 4, "Move up").click()
    tool(editor, 1, "Repeat").click()
    assert kinds(editor) == ["conv", "conv", "pool", "dropout", "global_pool"]
    tool(editor, 3, "Remove").click()
    assert kinds(editor) == ["conv", "conv", "dropout", "global_pool"]
    expect(editor.locator("[data-layer-said]")).to_have_text(
        "Pooling is removed; 4 layers are left."
    )
    expect(tool(editor, 3, "Remove")).to_be_focused()
    tool(editor, 1, "Move up").click(force=True)
    assert kinds(editor)[0] == "conv"


def test_the_keyboard_moves_a_layer_and_stays_in_it(editor: Page) -> None:
    field = row(editor, 2).get_by_label("Size")
    field.focus()
    editor.keyboard.press("Alt+ArrowUp")
    assert kinds(editor) == ["pool", "conv", "global_pool"]
    expect(row(editor, 1).get_by_label("Size")).to_be_focused()
    expect(editor.locator("[data-layer-said]")).to_have_text("Pooling is now layer 1 of 3.")
    editor.keyboard.press("Alt+ArrowUp")
    editor.keyboard.press("Alt+ArrowDown")
    assert kinds(editor) == ["conv", "pool", "global_pool"]


def test_outputs_follow_what_is_typed(editor: Page) -> None:
    row(editor, 1).get_by_label("Filters").fill("7")
    expect(row(editor, 1)).to_contain_text("28 × 28 × 7")
    row(editor, 2).get_by_label("Size").fill("4")
    expect(row(editor, 2)).to_contain_text("7 × 7 × 7")


def test_a_wrong_layer_says_so_in_its_row_and_when_it_is_sent(editor: Page, watch: Any) -> None:
    watch.expected.append("422")
    row(editor, 2).get_by_label("Kind of layer").select_option("dense")
    expect(row(editor, 2)).to_contain_text("an image of 28 x 28 x 32 reaches it")
    expect(row(editor, 1)).not_to_have_class(re.compile("has-error"))
    editor.get_by_role("button", name=START).click()
    link = editor.locator("[data-error-summary]").get_by_role("link", name="Dense, layer 2, kind")
    link.click()
    expect(row(editor, 2).get_by_label("Kind of layer")).to_be_focused()
    row(editor, 2).get_by_label("Kind of layer").select_option("flatten")
    expect(row(editor, 3)).to_contain_text("a row of 25088 values reaches it")
    tool(editor, 3, "Remove").click()
    expect(row(editor, 2)).to_contain_text("25088")
    row(editor, 1).get_by_label("Filters").fill("0")
    expect(row(editor, 1)).to_contain_text("greater than or equal to 1")


@pytest.mark.parametrize("when", ["at once", "once it is drawn"])
def test_a_list_can_be_pasted_as_text_and_is_what_is_sent(
    editor: Page, site: Site, when: str
) -> None:
    editor.get_by_text("As text").click()
    text = editor.locator('[data-path="spec.model.layers"]')
    text.fill('[{"kind": "pool", "size": 7}, {"kind": "flatten"}]')
    if when == "once it is drawn":
        expect(row(editor, 2)).to_contain_text("16")
    text.blur()
    expect(row(editor, 1).get_by_label("Size")).to_have_value("7")
    expect(row(editor, 2)).to_contain_text("16")
    editor.get_by_role("button", name=START).click()
    editor.wait_for_url(JOB_URL)
    sent = newest_job(site).spec["model"]["layers"]
    assert sent == [{"kind": "pool", "method": "max", "size": 7}, {"kind": "flatten"}]
    expect(editor.locator("main")).to_contain_text("pool max, 7 x 7 > flatten")


def test_a_list_that_gets_shorter_or_longer_as_text_is_drawn_anew(editor: Page) -> None:
    editor.get_by_text("As text").click()
    text = editor.locator('[data-path="spec.model.layers"]')
    text.fill('[{"kind": "pool", "size": 7}, {"kind": "flatten"}]')  # still in the text
    expect(row(editor, 2)).to_contain_text("16")
    expect(editor.locator("[data-layer-rows] > li")).to_have_count(2)
    text.fill('[{"kind": "pool", "size": 7}, {"kind": "flatten"}, {"kind": "dropout"}]')
    expect(row(editor, 3)).to_contain_text("16")


def test_an_answer_to_fewer_layers_than_there_are_is_shown_at_those(editor: Page) -> None:
    add = editor.get_by_role("button", name="Dropout", exact=True)

    def answer_late(route: Route) -> None:
        answer = route.fetch()
        add.evaluate("node => { node.click(); node.click(); }")
        route.fulfill(response=answer)

    expect(row(editor, 3).locator("[data-layer-shape]")).to_contain_text("32")  # all is answered
    editor.route("**/validate", answer_late, times=1)
    row(editor, 1).get_by_label("Filters").fill("7")
    expect(row(editor, 1)).to_contain_text("28 × 28 × 7")
    expect(row(editor, 5)).to_contain_text("7")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_editor_fits_a_phone(open_page: OpenPage, scheme: str) -> None:
    page = open_page("/jobs/new?preset=layers", scheme=scheme, viewport=PHONE)
    expect(row(page, 1)).to_contain_text("28 × 28 × 32")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_plugin_says_that_only_the_worker_knows_it(
    open_page: OpenPage, site: Site, watch: Any
) -> None:
    watch.expected.append("422")  # asked before the name is typed
    page = open_page("/jobs/new")
    page.locator('[data-path="spec.model.kind"]').select_option("plugin")
    page.locator('[data-path="spec.model.name"]').fill("mixed-kernels")
    page.locator('[data-path="spec.model.parameters"]').fill("filters=16, deep=true, how=x")
    expect(page.locator("[data-memory]")).to_contain_text("the code is the worker's")
    page.get_by_role("button", name=START).click()
    page.wait_for_url(JOB_URL)
    assert newest_job(site).spec["model"] == {
        "kind": "plugin",
        "name": "mixed-kernels",
        "parameters": {"filters": 16, "deep": True, "how": "x"},
    }
