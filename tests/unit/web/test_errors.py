"""One envelope for every error that a program sees, one page for people."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from shared.errors import Conflict, FieldError, InvalidInput, LeaseLost, NotFound, QueueUnavailable
from shared.settings import Settings
from tests.web_client import json_of
from web.app import create_app
from web.errors import Busy


def failing_client(settings: Settings, error: Exception) -> FlaskClient:
    app = create_app(settings)

    def fail() -> Any:
        raise error

    app.add_url_rule("/api/v1/fail", view_func=fail, endpoint="fail")
    app.add_url_rule("/fail", view_func=fail, endpoint="fail_page")
    return app.test_client()


def check_envelope(answer: TestResponse, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    body: dict[str, Any] = json_of(answer)
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput.of("a.b", "Must be so.", 3), 422),
        (NotFound("There is no job 7."), 404),
        (Conflict("Job 7 is over."), 409),
        (QueueUnavailable("Redis is away."), 503),
        (Busy("All taken."), 503),
        (OperationalError("SELECT secret", {}, Exception("down")), 503),
        (LeaseLost("internal"), 500),
        (ValueError("internal secret"), 500),
        (MemoryError(), 500),
    ],
)
def test_each_exception_has_its_status(settings: Settings, error: Exception, status: int) -> None:
    body = check_envelope(failing_client(settings, error).get("/api/v1/fail"), status)
    assert "secret" not in str(body)


def test_broken_rules_are_listed_with_field_and_value(settings: Settings) -> None:
    error = InvalidInput(
        [FieldError("a.b", "Must be so.", [1]), FieldError("c", "Must not.", None)]
    )
    body = check_envelope(failing_client(settings, error).get("/api/v1/fail"), 422)
    assert body["errors"] == [
        {"field": "a.b", "rule": "Must be so.", "received": [1]},
        {"field": "c", "rule": "Must not.", "received": None},
    ]


def test_who_must_wait_is_told_how_long(settings: Settings) -> None:
    answer = failing_client(settings, Busy("All taken.")).get("/api/v1/fail")
    assert int(answer.headers["Retry-After"]) > 0


def test_an_unknown_path_of_the_api_is_a_problem(client: FlaskClient) -> None:
    check_envelope(client.get("/api/v1/nothing"), 404)
    check_envelope(client.get("/api/v2/jobs"), 404)


def test_a_number_that_no_job_can_have_is_not_found(client: FlaskClient) -> None:
    check_envelope(client.get("/api/v1/jobs/99999999999999999999"), 404)


def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient) -> None:
    answer = client.put("/api/v1/jobs/1", json={})
    body = check_envelope(answer, 405)
    assert "PATCH" in body["detail"]
    assert "PATCH" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff\xfe",
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"\\u0000": 1}',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=["empty", "cut", "nan", "inf", "bytes", "nul", "surrogate", "nul-key", "deep", "digits"],
)
def test_malformed_json_is_a_problem(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/api/v1/jobs/validate", data=body, content_type="application/json")
    assert check_envelope(answer, 400)["detail"].startswith("The body is not JSON")


def test_people_get_a_page(client: FlaskClient) -> None:
    answer = client.get("/nothing")
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "/nothing" in answer.text


def test_what_people_typed_is_not_run_on_the_error_page(client: FlaskClient) -> None:
    assert "<script>alert" not in client.get("/<script>alert(1)</script>").text


def test_an_error_page_that_breaks_does_not_hide_the_error(settings: Settings) -> None:
    client = failing_client(settings, NotFound("There is no <job> 7."))
    client.application.jinja_env.globals["url_for"] = None
    answer = client.get("/fail")
    assert answer.status_code == 404
    assert "There is no &lt;job&gt; 7." in answer.text
