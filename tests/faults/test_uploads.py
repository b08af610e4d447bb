"""Fault 23: what people may send on purpose, and a reader that must survive it."""

from __future__ import annotations

import pickle
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from shared import catalogue
from shared.errors import NotFound
from shared.models import TicketStatus
from tests.history import check_history
from tests.importing import begun, look, send, start, stored, wait_over
from tests.sent_files import archive, digits, npz, packed_npz, picture, pixel_names, table, zipped
from tests.waiting import wait_until
from tests.web_client import json_of, serving
from tests.worker_yard import Yard

DATA = digits(30)
PICTURE = picture(DATA["x"][0])


@pytest.fixture
def web(yard: Yard) -> Iterator[FlaskClient]:
    small = yard.settings.model_copy(update={"max_upload_bytes": 5_000_000})
    with serving(small, yard.database) as client:
        yield client


def check_nothing_is_kept(yard: Yard) -> None:
    wait_until(lambda: stored(yard.settings) == [], what="what was sent is gone")
    assert not list(yard.settings.worker_work_dir.parent.glob("*/import-*"))
    with yard.database.read() as session, pytest.raises(NotFound):
        catalogue.find(session, "flowers")
    check_history(yard.database, yard.store)


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def lying_header() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999, 9999999)}"
    return b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117) + b"\n"


# Name, content (made when it is needed: some are large), and what is said of it.
ABUSES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "zip bomb": (
        "a.zip",
        lambda: archive([("cat/1.png", bytes(300 << 20))]),
        "An archive may grow 250 times",
    ),
    "gzip bomb": (
        "a.csv.gz",
        lambda: zipped(b"0," * (150 << 20)),
        "may have at most 150,530 columns",
    ),
    "array bomb": (
        "a.npz",
        lambda: packed_npz(x=np.zeros((500_000, 28, 28), np.uint8), y=np.arange(500_000) % 2),
        "An archive may grow 250 times",
    ),
    "picture bomb": (
        "a.zip",
        lambda: archive([("cat/1.png", picture(np.zeros((9000, 9000), np.uint8)))]),
        "may have at most 50,000,000 pixels",
    ),
    "archive in an archive": (
        "a.zip",
        lambda: archive([("cat/1.png", archive([("dog/1.png", PICTURE)]))]),
        "must be a whole PNG, JPEG or WebP",
    ),
    "traversal": (
        "a.zip",
        lambda: archive([("../../../tmp/evil.png", PICTURE)]),
        "must not lead out of it",
    ),
    "absolute path": (
        "a.zip",
        lambda: archive([("/tmp/evil.png", PICTURE)]),
        "must not lead out of it",
    ),
    "symlink": (
        "a.zip",
        lambda: archive([(link("cat/1.png"), b"/etc/passwd")]),
        "files, not links",
    ),
    "wide table": (
        "a.csv",
        lambda: b",".join([b"0"] * 200_000) + b"\n",
        "may have at most 150,530 columns",
    ),
    "giant header": (
        "a.csv",
        lambda: b"label," + b"x" * 4_900_000,
        "The first line is no line of a CSV",
    ),
    "lying header": ("a.npy", lying_header, "An array may take at most"),
    "not what it says": ("a.csv", lambda: PICTURE, "Pictures must come in a zip"),
    "cut off": ("a.npz", lambda: npz(x=DATA["x"], y=DATA["y"])[:-50], "It is no zip"),
}


def test_abuse_is_refused_in_words_and_leaves_nothing(yard: Yard, web: FlaskClient) -> None:
    with yard.worker():
        for abuse, (name, make, words) in ABUSES.items():
            failed = wait_over(yard, start(web, {name: make()}), TicketStatus.FAILED)
            assert failed.failure is not None
            assert words in failed.failure["evidence"], abuse
            check_nothing_is_kept(yard)
        wait_over(yard, start(web, {"a.csv": table(DATA)}))
        yard.run_another()
    check_history(yard.database, yard.store)


def test_objects_and_models_are_never_unpickled(
    yard: Yard, web: FlaskClient, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    objects = np.array([Trap(trap)] * 30, dtype=object)
    evil = pickle.dumps(Trap(trap))
    files = {
        "objects.npz": npz(x=DATA["x"], y=objects),
        "model.pkl": evil,
        "model.keras": archive([("model.weights.h5", evil), ("config.json", b"{}")]),
        "model.npy": evil,
    }
    with yard.worker():
        for name, content in files.items():
            failed = wait_over(yard, start(web, {name: content}), TicketStatus.FAILED)
            assert failed.failure is not None
            assert failed.failure["kind"] == "data"
        assert not trap.exists()
        check_nothing_is_kept(yard)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(
    yard: Yard, web: FlaskClient
) -> None:
    path = begun(web)
    answer = send(web, path, "a.csv", bytes(5_000_001))
    assert answer.status_code == 413
    assert "at most 5,000,000 bytes" in json_of(answer)["detail"]
    assert stored(yard.settings) == []


def test_a_reader_that_takes_too_much_memory_ends_alone(yard: Yard, web: FlaskClient) -> None:
    names = pixel_names(digits(1, side=224, channels=3))
    rows = (b"0," + b",".join([b"7"] * len(names)) + b"\n") * 12
    files = {"a.csv.gz": zipped(b"label," + ",".join(names).encode() + b"\n" + rows)}
    with yard.worker(TRAINYARD_IMPORT_MEMORY_BYTES="200000000"):
        failed = wait_over(yard, start(web, files), TicketStatus.FAILED)
        assert failed.failure is not None
        assert failed.failure["kind"] == "out_of_memory"
        assert "TRAINYARD_IMPORT_MEMORY_BYTES" in failed.failure["suggestion"]
        check_nothing_is_kept(yard)


def test_a_full_disk_refuses_the_file_and_keeps_the_rest(
    yard: Yard, web: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = begun(web)
    assert send(web, path, "a.csv", table(DATA)).status_code == 200

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shared.artifacts.os.fsync", full)
        assert send(web, path, "b.csv", table(DATA)).status_code == 507
    assert len(stored(yard.settings)) == 1
    web.post(f"{path}/start", json={})
    with yard.worker():
        row = wait_over(yard, int(path.rpartition("/")[2]))
    assert [file["name"] for file in row.files] == ["a.csv"]
    assert look(yard.database, row.id).status is TicketStatus.DONE
