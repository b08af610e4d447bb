"""The access token: sessions, bearers, guessing, and where sign-in may lead."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from shared.settings import Settings
from tests.web_client import json_of, serving
from web.auth import Gate, local_path, secret_key
from web.errors import TooManyAttempts

TOKEN = "correct horse battery staple"
HERE = {"Origin": "http://localhost"}


@pytest.fixture
def guarded(settings: Settings) -> Iterator[FlaskClient]:
    with serving(settings.model_copy(update={"access_token": SecretStr(TOKEN)})) as client:
        yield client


def sign_in(client: FlaskClient, token: str = TOKEN, next: str = "/") -> int:
    form = {"token": token, "next": next}
    return client.post("/sign-in", data=form, headers=HERE).status_code


def test_without_a_token_nobody_is_asked(client: FlaskClient) -> None:
    assert client.get("/api/v1/presets").status_code == 200
    assert client.get("/sign-in").status_code == 303


def test_an_empty_token_is_no_token(settings: Settings) -> None:
    with serving(settings.model_copy(update={"access_token": SecretStr("")})) as client:
        assert client.get("/api/v1/presets").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/presets", "/api/v1/nothing", "/metrics"])
def test_a_program_without_the_token_is_told_how_to_send_it(
    guarded: FlaskClient, path: str
) -> None:
    answer = guarded.get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")
    assert answer.mimetype == "application/problem+json"
    assert "Authorization: Bearer" in json_of(answer)["detail"]


@pytest.mark.parametrize("path", ["/", "/jobs/1", "/nothing"])
def test_a_person_without_a_session_is_led_to_the_sign_in_page(
    guarded: FlaskClient, path: str
) -> None:
    answer = guarded.get(f"{path}?status=failed")
    assert answer.status_code == 303
    assert answer.location.startswith("/sign-in?next=%2F")
    assert answer.location.endswith("%3Fstatus%3Dfailed")


@pytest.mark.parametrize("path", ["/healthz", "/sign-in", "/static/css/base.css"])
def test_some_paths_are_open_to_all(guarded: FlaskClient, path: str) -> None:
    with guarded.get(path) as answer:
        assert answer.status_code == 200


def test_the_bearer_token_lets_a_program_in(guarded: FlaskClient) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    basic = {"Authorization": "Basic Y29ycmVjdDpob3JzZQ=="}
    assert guarded.get("/api/v1/presets", headers=right).status_code == 200
    assert guarded.get("/api/v1/presets", headers=wrong).status_code == 401
    assert guarded.get("/api/v1/presets", headers=basic).status_code == 401


def test_signing_in_opens_a_session_and_signing_out_ends_it(guarded: FlaskClient) -> None:
    assert sign_in(guarded, "wrong") == 403
    assert guarded.get("/api/v1/presets").status_code == 401
    assert sign_in(guarded) == 303
    assert guarded.get("/api/v1/presets").status_code == 200
    assert guarded.post("/sign-out", headers=HERE).status_code == 303
    assert guarded.get("/api/v1/presets").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(guarded: FlaskClient) -> None:
    answer = guarded.post("/sign-in", data={"token": TOKEN}, headers=HERE)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_over_https_the_cookie_never_goes_over_http(guarded: FlaskClient) -> None:
    answer = guarded.post(
        "/sign-in",
        data={"token": TOKEN},
        base_url="https://localhost",
        headers={"Origin": "https://localhost"},
    )
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_new_token_ends_the_sessions_of_the_old_one(settings: Settings) -> None:
    settings = settings.model_copy(update={"secret_key": SecretStr("k" * 32)})
    with serving(settings.model_copy(update={"access_token": SecretStr(TOKEN)})) as client:
        answer = client.post("/sign-in", data={"token": TOKEN}, headers=HERE)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    with serving(settings.model_copy(update={"access_token": SecretStr("new")})) as client:
        assert client.get("/api/v1/presets", headers={"Cookie": cookie}).status_code == 401


def test_a_forged_cookie_opens_nothing(guarded: FlaskClient) -> None:
    guarded.set_cookie("trainyard_session", "eyJhY2Nlc3MiOiJ4In0.aaaaaa.bbbbbbbbbbbb")
    assert guarded.get("/api/v1/presets").status_code == 401


def test_sign_in_leads_back_to_where_one_wanted_to_go(guarded: FlaskClient) -> None:
    form = {"token": TOKEN, "next": "/jobs/7?x=1"}
    assert guarded.post("/sign-in", data=form, headers=HERE).location == "/jobs/7?x=1"


def test_another_site_cannot_sign_somebody_in(guarded: FlaskClient) -> None:
    form = {"token": TOKEN}
    evil = {"Origin": "http://evil.example"}
    assert guarded.post("/sign-in", data=form, headers=evil).status_code == 403


@pytest.mark.parametrize("path", ["/", "/jobs/7", "/jobs/7?x=1&y=%2F", "/äö"])
def test_a_path_of_ours_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "value",
    ["", "jobs", "//evil.example", "/\\evil.example", "\\/evil.example", "https://evil.example",
     "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", " /x", "/ /x"],
)  # fmt: skip
def test_a_way_out_of_the_site_leads_to_the_front_page(value: str) -> None:
    assert local_path(value) == "/"


class Clock:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_guessing_gets_slower_with_every_wrong_token() -> None:
    clock = Clock()
    gate = Gate("right", clock)
    for _ in range(5):
        assert not gate.admits("wrong", "1.2.3.4")
    waits = []
    for _ in range(9):
        with pytest.raises(TooManyAttempts) as caught:
            gate.admits("right", "1.2.3.4")
        waits.append(caught.value.retry_after_seconds)
        clock.now += caught.value.retry_after_seconds
        assert not gate.admits("wrong", "1.2.3.4")
    assert waits == sorted(waits)
    assert waits[0] < 5
    assert waits[-1] > 50


def test_guessing_from_one_address_does_not_lock_out_others() -> None:
    gate = Gate("right", Clock())
    for _ in range(5):
        gate.admits("wrong", "1.2.3.4")
    assert gate.admits("right", "5.6.7.8")


def test_the_right_token_wipes_the_slate() -> None:
    gate = Gate("right", Clock())
    for _ in range(4):
        gate.admits("wrong", "1.2.3.4")
    assert gate.admits("right", "1.2.3.4")
    for _ in range(4):
        assert not gate.admits("wrong", "1.2.3.4")
    assert gate.admits("right", "1.2.3.4")


def test_tokens_beyond_ascii_are_compared_too() -> None:
    gate = Gate("größer", Clock())
    assert gate.admits("größer", "1.2.3.4")
    assert not gate.admits("grösser", "1.2.3.4")


def test_guessing_is_answered_with_429(guarded: FlaskClient) -> None:
    guarded.application.extensions["gate"].clock = Clock()
    statuses = [sign_in(guarded, "wrong") for _ in range(6)]
    assert statuses == [403] * 5 + [429]
    wrong = {"Authorization": "Bearer wrong"}
    answer = guarded.get("/api/v1/presets", headers=wrong)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1


def test_the_secret_key_is_made_once_and_readable_by_its_owner_alone(settings: Settings) -> None:
    keys = set[str]()
    threads = [threading.Thread(target=lambda: keys.add(secret_key(settings))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    path = settings.data_dir / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in settings.data_dir.iterdir()] == ["secret_key"]


def test_a_given_secret_key_is_not_written_anywhere(settings: Settings) -> None:
    given = settings.model_copy(update={"secret_key": SecretStr("given")})
    assert secret_key(given) == "given"
    assert not (settings.data_dir / "secret_key").exists()
