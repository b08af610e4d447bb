"""Pages are sent compressed: the list shrinks to a tenth, and open pages fetch it again and again.

Only HTML is: streams must not be held up, and files are sent as they lie. No page holds a secret
(the session is a cookie that no page shows), so none can be guessed from a page's size.
"""

from __future__ import annotations

import gzip

from flask import Flask, Response, request

_LEAST_BYTES = 1024
# Beyond this level the time grows, and the page hardly shrinks.
_LEVEL = 5


def init_app(app: Flask) -> None:
    """Compress the pages of an app."""
    app.after_request(compress)


def compress(response: Response) -> Response:
    """Compress a response if it is a page, and whoever asked for it can read that."""
    if response.mimetype != "text/html" or response.is_streamed:
        return response
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if len(body) >= _LEAST_BYTES and request.accept_encodings.quality("gzip") > 0:
        response.set_data(gzip.compress(body, _LEVEL, mtime=0))
        response.content_encoding = "gzip"
    return response
