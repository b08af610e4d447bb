"""Who asks: the words that events carry until there are accounts."""

from __future__ import annotations

from flask import request

# What `trainyard` calls itself.
_CLI_AGENT = "trainyard/"


def current_actor() -> str:
    """Return who sends this request: by page, command line or API, and from which address."""
    agent = request.headers.get("User-Agent", "")
    if agent.startswith(_CLI_AGENT):
        way = "command line"
    else:
        # Browsers send it with every request; programs do not.
        way = "page" if "Sec-Fetch-Site" in request.headers else "API"
    return f"{way}, {request.remote_addr or 'unknown address'}"
