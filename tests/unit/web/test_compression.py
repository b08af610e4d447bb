"""Pages are sent compressed to those who can read that."""

from __future__ import annotations

import gzip

import pytest
from flask.testing import FlaskClient


def test_a_page_shrinks_and_reads_the_same(client: FlaskClient) -> None:
    plain = client.get("/workers")
    packed = client.get("/workers", headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Length"] == str(len(packed.data))
    assert len(packed.data) < len(plain.data) / 2
    assert gzip.decompress(packed.data) == plain.data
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "identity"])
def test_who_cannot_read_gzip_gets_it_plain(client: FlaskClient, accepted: str) -> None:
    answer = client.get("/workers", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer.headers
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("path", ["/static/css/base.css", "/api/v1/presets", "/healthz"])
def test_only_pages_are(client: FlaskClient, path: str) -> None:
    with client.get(path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers
