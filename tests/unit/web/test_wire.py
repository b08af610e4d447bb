"""JSON and server-sent events as browsers read them."""

from __future__ import annotations

import json
import math

from web.wire import event_frame, to_json


def test_numbers_that_json_lacks_become_null() -> None:
    value = {"a": math.nan, "b": [math.inf, 1.5], "c": (-math.inf, "x"), "d": None}
    assert json.loads(to_json(value)) == {"a": None, "b": [None, 1.5], "c": [None, "x"], "d": None}


def test_an_event_is_one_line_of_data_whatever_it_holds() -> None:
    frame = event_frame("log", {"lines": ["a\nb", "ü\r\n"]}, "e3").decode()
    lines = frame.split("\n")
    assert lines[0] == "id: e3"
    assert lines[1] == "event: log"
    assert json.loads(lines[2].removeprefix("data: ")) == {"lines": ["a\nb", "ü\r\n"]}
    assert lines[3:] == ["", ""]
