"""Who may come in: one access token, until there are accounts.

Owns the sign-in page, the session cookie and the bearer check. Without `TRAINYARD_ACCESS_TOKEN`
everybody who can reach the server may use it; `web.__main__` lets that happen on loopback alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, current_app, redirect, render_template, request, session
from flask.sessions import SecureCookieSessionInterface
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from shared.settings import Settings
from web.errors import TooManyAttempts, for_programs

bp = Blueprint("auth", __name__)

SESSION_DAYS = 30
_OPEN_ENDPOINTS = ("health.healthz", "health.readyz", "static", "auth.sign_in", "auth.sign_out")
_GATE = "gate"
_FREE_FAILURES = 5
_MAX_WAIT_SECONDS = 60
_MAX_ADDRESSES = 4096
_KEY_BYTES = 32


@dataclass
class _Failures:
    count: int = 0
    blocked_until: float = 0.0


@dataclass
class Gate:
    """Compares tokens, and makes guessing slow.

    After five wrong tokens from an address, each further one doubles the time in which nothing
    more from there is looked at.

    Attributes:
        token: the right one.
        clock: seconds, monotonic.
    """

    token: str
    clock: Callable[[], float] = time.monotonic
    _failures: OrderedDict[str, _Failures] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def fingerprint(self) -> str:
        """What a session remembers of the token: a new token ends all sessions."""
        return hashlib.sha256(f"trainyard-session:{self.token}".encode()).hexdigest()

    def admits(self, token: str, address: str) -> bool:
        """Tell whether the token is right.

        Args:
            token: what was sent.
            address: where it came from.

        Raises:
            TooManyAttempts: too many wrong ones came from there.
        """
        self._check_not_blocked(address)
        if hmac.compare_digest(token.encode(), self.token.encode()):
            with self._lock:
                self._failures.pop(address, None)
            return True
        self._count_failure(address)
        return False

    def _check_not_blocked(self, address: str) -> None:
        with self._lock:
            failures = self._failures.get(address)
            wait_seconds = failures.blocked_until - self.clock() if failures else 0.0
        if wait_seconds > 0:
            raise TooManyAttempts(int(wait_seconds) + 1)

    def _count_failure(self, address: str) -> None:
        with self._lock:
            failures = self._failures.setdefault(address, _Failures())
            self._failures.move_to_end(address)
            failures.count += 1
            if failures.count >= _FREE_FAILURES:
                doublings = min(failures.count - _FREE_FAILURES, 10)
                wait_seconds = min(2.0**doublings, _MAX_WAIT_SECONDS)
                failures.blocked_until = self.clock() + wait_seconds
            while len(self._failures) > _MAX_ADDRESSES:
                self._failures.popitem(last=False)


class _Sessions(SecureCookieSessionInterface):
    def get_cookie_secure(self, app: Flask) -> bool:
        """Send the cookie over https alone, once it was set over https."""
        return request.is_secure


def init_app(app: Flask, settings: Settings) -> None:
    """Set up sessions, and the check of every request if there is a token."""
    app.secret_key = secret_key(settings)
    app.session_interface = _Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="trainyard_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(days=SESSION_DAYS),
    )
    if settings.access_token:
        app.extensions[_GATE] = Gate(settings.access_token.get_secret_value())
        app.before_request(require_access)


def require_access() -> Any:
    """Let a request through that shows the token, or a session that once did.

    Returns:
        None, or a redirect to the sign-in page for people.

    Raises:
        Unauthorized: a program without the token.
        TooManyAttempts: too many wrong tokens.
    """
    if request.endpoint in _OPEN_ENDPOINTS or _has_access(_gate()):
        return None
    if for_programs():
        detail = "This needs the access token, as `Authorization: Bearer <token>`."
        raise Unauthorized(detail, www_authenticate=WWWAuthenticate("bearer"))
    here = request.full_path if request.query_string else request.path
    to = here if request.method == "GET" else "/"
    return redirect(f"/sign-in?{urlencode({'next': to})}", 303)


@bp.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> Any:
    """Ask for the token, and remember in a signed cookie that it was right."""
    target = local_path(request.values.get("next", ""))
    if _GATE not in current_app.extensions or _has_access(_gate()):
        return redirect(target, 303)
    if request.method == "GET":
        return render_template("sign_in.html", next=target, error=None)
    gate = _gate()
    if not gate.admits(request.form.get("token", ""), request.remote_addr or ""):
        error = "That is not the access token of this yard."
        return render_template("sign_in.html", next=target, error=error), 403
    session.clear()
    session.permanent = True
    session["access"] = gate.fingerprint
    return redirect(target, 303)


@bp.post("/sign-out")
def sign_out() -> Any:
    """Forget the session."""
    session.clear()
    return redirect("/sign-in", 303)


def local_path(value: str) -> str:
    """Return `value` if it is a path on this server, else `/`.

    Browsers drop control characters and read a backslash as `/`: those are refused outright.
    """
    plain = value.isprintable() and not any(letter in value for letter in " \\")
    return value if plain and value.startswith("/") and not value.startswith("//") else "/"


def secret_key(settings: Settings) -> str:
    """Return the key that signs cookies: the operator's, or one made once and kept."""
    if settings.secret_key:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / "secret_key"
    if not path.exists():
        _create_once(path, secrets.token_hex(_KEY_BYTES))
    return path.read_text(encoding="ascii")


def _create_once(path: Path, text: str) -> None:
    """Create the file whole, readable by its owner alone; whoever comes second changes nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def _gate() -> Gate:
    gate: Gate = current_app.extensions[_GATE]
    return gate


def _has_access(gate: Gate) -> bool:
    if hmac.compare_digest(str(session.get("access", "")), gate.fingerprint):
        return True
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer":
        return False
    return gate.admits(authorization.token or "", request.remote_addr or "")
