"""Who asks: the words that events carry until there are accounts."""

from __future__ import annotations

from flask import request

# What `trainyard` calls itself, and what our pages send with what they ask for.
_CLI_AGENT = "trainyard/"
_PAGE_MARK = "trainyard-page"


def current_actor() -> str:
    """Return who sends this request: by page, command line or API, and from which address."""
    agent = request.headers.get("User-Agent", "")
    way = "page" if _is_page() else "API"
    if agent.startswith(_CLI_AGENT):
        way = "command line"
    return f"{way}, {request.remote_addr or 'unknown address'}"


def _is_page() -> bool:
    """Whether one of our pages asks.

    Browsers say `Sec-Fetch-Site`, programs do not; but they say it to no plain http address
    other than localhost.
    """
    marked = request.headers.get("X-Requested-With") == _PAGE_MARK
    return marked or "Sec-Fetch-Site" in request.headers
