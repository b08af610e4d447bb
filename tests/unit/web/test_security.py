"""What the server demands of requests, and tells browsers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from shared.settings import Settings
from shared.yard.addresses import is_loopback
from tests.web_client import json_of, serving
from web.security import MAX_BODY_BYTES

PATH = "/api/v1/jobs/validate"


@pytest.fixture
def named(settings: Settings) -> Iterator[FlaskClient]:
    """A server whose operator gave it a name."""
    with serving(settings.model_copy(update={"url": "https://yard.example"})) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1", "127.0.0.1:8080", "[::1]:80"]
)
def test_loopback_names_are_ours(client: FlaskClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8080", "[::2]", "a b"],
)
def test_a_name_that_points_here_from_elsewhere_is_refused(client: FlaskClient, host: str) -> None:
    answer = client.get("/api/v1/presets", headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert answer.mimetype == "application/problem+json"


def test_the_name_of_the_server_is_ours_too(named: FlaskClient) -> None:
    assert named.get("/healthz", headers={"Host": "yard.example"}).status_code == 200


def test_with_a_token_any_name_will_do(settings: Settings) -> None:
    with serving(settings.model_copy(update={"access_token": SecretStr("t")})) as client:
        headers = {"Host": "gpu-box.lan", "Authorization": "Bearer t"}
        assert client.get("/api/v1/presets", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
    ],
)
def test_changes_from_programs_and_our_pages_are_let_through(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.post(PATH, json=[], headers=headers)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_changes_from_other_sites_are_refused(
    client: FlaskClient, headers: dict[str, str], method: str
) -> None:
    answer = client.open("/api/v1/jobs/1", method=method, headers=headers)
    assert answer.status_code == 403
    assert "another site" in json_of(answer)["detail"]


def test_behind_a_proxy_the_name_of_the_server_is_its_own_site(named: FlaskClient) -> None:
    answer = named.post(PATH, json=[], headers={"Origin": "https://yard.example"})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
)
@pytest.mark.parametrize("path", [PATH, "/api/v1/jobs", "/api/v1/jobs/1/cancel"])
def test_only_json_changes_anything(client: FlaskClient, path: str, content_type: str) -> None:
    answer = client.post(path, data=b"{}", content_type=content_type)
    assert answer.status_code == 415
    assert "application/json" in json_of(answer)["detail"]


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    body = b'"' + b"x" * MAX_BODY_BYTES + b'"'
    answer = client.post(PATH, data=body, content_type="application/json")
    assert answer.status_code == 413
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/presets", "/api/v1/nothing", "/nothing"])
def test_every_answer_carries_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.1.2.3", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("yard.example", False),
     ("", False), ("127.evil.example", False)],
)  # fmt: skip
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
