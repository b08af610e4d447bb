"""Public sets: where their files are asked for, and that they come as they were published."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.datasets.known import KNOWN, KnownFile
from shared.settings import Settings
from worker.download import NotFetched, fetch_known

MIRROR = "http://mirror.example/sets/"


def serve(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    """Have requests answered without a network."""
    client = httpx.Client(transport=httpx.MockTransport(answer))

    def stream(method: str, url: str, **how: Any) -> Any:
        return client.stream(method, url, **how)

    monkeypatch.setattr(httpx, "stream", stream)


def test_every_file_knows_its_set_and_no_two_share_a_place_on_a_mirror() -> None:
    files = [(known.name, file) for known in KNOWN.values() for file in known.files]
    assert all(file.set_name == name for name, file in files)
    assert len({file.mirror_path for _, file in files}) == len(files)


def test_a_packed_file_is_asked_for_in_its_sets_folder_and_stays_packed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = gzip.compress(b"pixels")
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        # As some servers call every file whose name ends so.
        headers = {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))

    serve(monkeypatch, answer)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    file = KnownFile("kmnist", "http://publisher.example/a/train.gz", md5)
    shares: list[float] = []
    fetch_known(
        file, tmp_path / "0", Settings(known_sets_url=MIRROR), shares.append, pause=shares.append
    )
    assert (tmp_path / "0").read_bytes() == content
    assert [str(request.url) for request in asked] == [f"{MIRROR}kmnist/train.gz"]
    assert asked[0].headers["Accept-Encoding"] == "identity"
    assert shares[-1] == 1.0


def fetch(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *answers: httpx.Response | Exception
) -> list[float]:
    """Fetch a file whose content is `pixels`, from a server that answers so; return the pauses."""
    left = list(answers)

    def answer(_request: httpx.Request) -> httpx.Response:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    serve(monkeypatch, answer)
    md5 = hashlib.md5(b"pixels", usedforsecurity=False).hexdigest()
    file = KnownFile("kmnist", "http://publisher.example/a/train.gz", md5)
    pauses: list[float] = []
    fetch_known(file, folder / "0", Settings(), lambda _: None, pause=pauses.append)
    assert (folder / "0").read_bytes() == b"pixels"
    return pauses


def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = httpx.Response(200, stream=httpx.ByteStream(b"pixels"))
    assert fetch(monkeypatch, tmp_path, good) == []
    good = httpx.Response(200, stream=httpx.ByteStream(b"pixels"))
    bad = (httpx.Response(503), httpx.ReadTimeout("slow"))
    assert len(fetch(monkeypatch, tmp_path, *bad, good)) == 2


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([httpx.Response(403)], "publisher.example answered 403 Forbidden"),
        ([httpx.Response(502)] * 3, "publisher.example answered 502 Bad Gateway"),
        ([httpx.ConnectTimeout("slow")] * 3, "no answer within 30 s"),
        ([httpx.ConnectError("Name or service not known")] * 3, "Name or service not known"),
    ],
)
def test_what_does_not_pass_is_told(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answers: list[httpx.Response | Exception],
    words: str,
) -> None:
    with pytest.raises(NotFetched, match=f"train.gz cannot be fetched: {words}"):
        fetch(monkeypatch, tmp_path, *answers)
