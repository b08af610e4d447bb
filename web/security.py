"""What the server demands of every request, and tells every browser.

Owns limits on size, the Host check, the cross-site check and the security headers. Who may come
in at all is `web.auth`'s business.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import Forbidden, MisdirectedRequest, UnsupportedMediaType

from shared.settings import Settings

MAX_BODY_BYTES = 1_048_576
MAX_FORM_FIELD_BYTES = 65_536
MAX_FORM_PARTS = 20

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# The only forms that a browser posts to us as forms; everything else is JSON.
_FORM_ENDPOINTS = ("auth.sign_in", "auth.sign_out")
# A file is sent as it is. By PUT, which no page of another site can send without asking first.
_FILE_ENDPOINTS = ("api.send_file",)
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def init_app(app: Flask, settings: Settings, *, bound_host: str) -> None:
    """Set the limits and register the checks.

    Args:
        app: the app.
        settings: for the access token and the server's address.
        bound_host: what the server is bound to.
    """
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_FORM_FIELD_BYTES,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
    )
    own_hosts = {*_LOOPBACK_NAMES, bound_host.lower(), urlsplit(settings.url).hostname or ""}
    if not settings.access_token:
        app.before_request(lambda: check_host(own_hosts))
    app.before_request(lambda: check_origin(urlsplit(settings.url).netloc))
    app.before_request(check_content_type)
    app.after_request(_add_headers)


def check_host(own_hosts: set[str]) -> None:
    """Refuse names that are not ours, where no token protects us.

    Otherwise any web page could let its own name point to 127.0.0.1 and read everything (DNS
    rebinding).

    Raises:
        MisdirectedRequest: the Host header names another host.
    """
    name = re.sub(r":\d+$", "", request.host).strip("[]").lower()
    if name not in own_hosts:
        raise MisdirectedRequest(
            f"This server is not {request.host!r}. To be reached by another name it needs "
            "TRAINYARD_ACCESS_TOKEN, or that name in TRAINYARD_URL."
        )


def check_origin(own_netloc: str) -> None:
    """Refuse changes that another site's page asks for.

    Browsers say where a request comes from, in `Sec-Fetch-Site` or at least in `Origin`; programs
    say nothing, and carry no cookie that could be abused.

    Args:
        own_netloc: host and port that the operator gave the server, behind a proxy.

    Raises:
        Forbidden: the request comes from elsewhere.
    """
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:
        allowed = origin is None or origin.partition("://")[2] in (request.host, own_netloc)
    if not allowed:
        raise Forbidden(f"Changes may not come from another site. Received: {origin or site!r}.")


def check_content_type() -> None:
    """Demand JSON wherever something is changed: no form on another site can send that.

    Raises:
        UnsupportedMediaType: the body is said to be something else.
    """
    unchecked = (None, *_FORM_ENDPOINTS, *_FILE_ENDPOINTS)  # None: there is nothing to change
    if request.method in _SAFE_METHODS or request.endpoint in unchecked:
        return
    bare = not request.content_length and "Content-Type" not in request.headers
    if not bare and request.mimetype != "application/json":
        received = request.mimetype or "no Content-Type"
        raise UnsupportedMediaType(f"The body must be application/json. Received: {received}.")


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "private, no-cache"
    return response
