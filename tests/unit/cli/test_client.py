"""The HTTP client: what it sends, and what it makes of every kind of answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from shared.cli.artifacts import Corrupted, fetch
from shared.cli.client import Client, describe_problem
from shared.cli.errors import Refused, Unreachable
from shared.errors import ConfigurationError
from shared.settings import Settings

Handler = Callable[[httpx.Request], httpx.Response]


def _client(handler: Handler, token: str | None = None) -> Client:
    return Client("http://yard.test:8080/", token, httpx.MockTransport(handler))


def test_a_request_goes_to_the_versioned_path_with_the_token() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": 3})

    assert _client(answer, "secret").get("/jobs/3") == {"id": 3}
    assert str(seen[0].url) == "http://yard.test:8080/api/v1/jobs/3"
    assert seen[0].headers["Authorization"] == "Bearer secret"


def test_field_errors_name_field_rule_and_received_value() -> None:
    problem = {
        "title": "Unprocessable Content",
        "status": 422,
        "errors": [
            {"field": "spec.learning_rate", "rule": "Must be above 0.", "received": -1},
            {"field": "", "rule": "Must be an object.", "received": [1]},
        ],
    }

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(422, json=problem)

    with pytest.raises(Refused) as caught:
        _client(answer).post("/jobs", {})
    assert caught.value.status == 422
    assert str(caught.value).splitlines() == [
        "Not accepted:",
        "  spec.learning_rate: Must be above 0. Received: -1.",
        "  (whole document): Must be an object. Received: [1].",
    ]


def test_a_refused_token_says_which_setting_helps() -> None:
    assert "TRAINYARD_TOKEN" in describe_problem(401, {"detail": "A token is required."})


def test_an_error_that_is_no_problem_document_is_shown_as_it_is() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, text="nothing here")

    with pytest.raises(Refused, match="nothing here"):
        _client(answer).get("/jobs/3")


def test_a_job_that_starts_meanwhile_no_longer_waits() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        status = 409 if request.url.path.endswith("/3/waiting") else 404
        return httpx.Response(status, json={"detail": "Job 3 is running."})

    assert _client(answer).waiting(3) is None
    with pytest.raises(Refused, match="is running"):
        _client(answer).waiting(4)


def test_a_failing_server_counts_as_unreachable() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"detail": "Too many streams."})

    with pytest.raises(Unreachable, match="Too many streams"):
        _client(answer).get("/jobs")


def test_a_server_that_is_not_ours_is_named() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="<html>")

    with pytest.raises(Unreachable, match=r"yard\.test:8080 is not Trainyard"):
        _client(answer).get("/jobs")


def test_no_connection_names_address_and_remedy() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match=r"http://yard\.test:8080.*refused.*trainyard up"):
        _client(answer).get("/jobs")


def test_a_submission_is_sent_again_under_the_same_key_when_the_answer_is_lost() -> None:
    keys: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadTimeout("late")
        return httpx.Response(201, json={"id": 1})

    assert _client(answer).post("/jobs", {}, idempotency_key="k") == {"id": 1}
    assert keys == ["k", "k"]


def test_a_request_without_key_is_sent_once() -> None:
    count = 0

    def answer(_request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        raise httpx.ReadTimeout("late")

    with pytest.raises(Unreachable):
        _client(answer).post("/jobs/3/retry")
    assert count == 1


def test_a_list_is_read_page_after_page_up_to_the_limit() -> None:
    pages = {None: ([1, 2], "a"), "a": ([3, 4], "b"), "b": ([5], None)}

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["status"] == "failed"
        numbers, following = pages[request.url.params.get("cursor")]
        items = [{"id": number} for number in numbers]
        return httpx.Response(200, json={"items": items, "next_cursor": following})

    def ids(at_most: int | None) -> list[int]:
        items = _client(answer).items("/jobs", {"status": "failed"}, at_most=at_most)
        return [item["id"] for item in items]

    assert ids(None) == [1, 2, 3, 4, 5]
    assert ids(3) == [1, 2, 3]


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://yard.test", "http://[::1"])
def test_an_address_that_is_none_is_refused_by_the_settings_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match="TRAINYARD_URL"):
        Client.of(Settings(url=url))


def _artifact(name: str, content: bytes) -> dict[str, str]:

    return {"name": name, "sha256": hashlib.sha256(content).hexdigest()}


def test_a_file_is_fetched_whole(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/jobs/3/artifacts/model.keras"
        return httpx.Response(200, content=b"weights")

    path = fetch(_client(answer), 3, _artifact("model.keras", b"weights"), tmp_path / "new")
    assert path.read_bytes() == b"weights"
    assert [file.name for file in path.parent.iterdir()] == ["model.keras"]


def test_a_name_may_have_folders(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/jobs/3/artifacts/a/b.npz"
        return httpx.Response(200, content=b"weights")

    path = fetch(_client(answer), 3, _artifact("a/b.npz", b"weights"), tmp_path)
    assert path == tmp_path / "a" / "b.npz"


def test_a_damaged_file_is_refused_and_removed(tmp_path: Path) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"weighty")

    with pytest.raises(Corrupted, match=r"model\.keras arrived damaged"):
        fetch(_client(answer), 3, _artifact("model.keras", b"weights"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "..", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing must be asked for")

    with pytest.raises(Corrupted, match="outside of the job"):
        fetch(_client(answer), 3, _artifact(name, b""), tmp_path)


def test_json_bodies_are_sent_as_json() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Content-Type"] == "application/json"
        return httpx.Response(200, json=json.loads(request.content))

    assert _client(answer).post("/jobs/3/cancel") == {}
