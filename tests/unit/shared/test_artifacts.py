"""The artifact store keeps files whole and inside its root."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from shared.artifacts import ArtifactStore
from shared.errors import InvalidInput, NotFound, StoreRefused, StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(f"file://{tmp_path / 'store'}")


def put(store: ArtifactStore, tmp_path: Path, path: str, content: bytes) -> None:
    local = tmp_path / "local"
    local.write_bytes(content)
    store.put(local, path)


def test_what_was_put_can_be_read_and_fetched(store: ArtifactStore, tmp_path: Path) -> None:
    put(store, tmp_path, "jobs/1/a.bin", b"content")

    with store.open("jobs/1/a.bin") as file:
        assert file.read() == b"content"
    store.get("jobs/1/a.bin", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"content"
    assert store.exists("jobs/1")


def test_a_second_put_replaces_the_file_and_leaves_nothing_else(
    store: ArtifactStore, tmp_path: Path
) -> None:
    put(store, tmp_path, "a.bin", b"old")
    put(store, tmp_path, "a.bin", b"new")

    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a.bin"]
    with store.open("a.bin") as file:
        assert file.read() == b"new"


def test_a_missing_file_is_named_and_leaves_no_half_file(
    store: ArtifactStore, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match=r"jobs/1/none"):
        store.open("jobs/1/none")
    with pytest.raises(NotFound, match=r"jobs/1/none"):
        store.get("jobs/1/none", tmp_path / "fetched")
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_is_not_mounted_is_told_from_a_file_that_is_gone(store: ArtifactStore) -> None:
    with pytest.raises(StoreUnavailable, match="no folder"):
        store.require_root()
    store.make()
    store.require_root()
    ArtifactStore("memory://yard").require_root()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(PermissionError("Access Denied"), StoreRefused), (TimeoutError("late"), StoreUnavailable)],
)
def test_a_remote_store_that_refuses_is_told_from_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[Exception]
) -> None:
    store = ArtifactStore("memory://yard")

    def get_file(*_: str) -> None:
        raise error

    monkeypatch.setattr(store._fs, "get_file", get_file)
    with pytest.raises(StoreUnavailable, match=str(error)) as raised:
        store.get("a.bin", tmp_path / "fetched")
    assert type(raised.value) is kind


def test_deleting_removes_a_tree_and_nothing_is_no_error(
    store: ArtifactStore, tmp_path: Path
) -> None:
    put(store, tmp_path, "jobs/1/a/b.bin", b"x")
    store.delete("jobs/1")
    store.delete("jobs/1")

    assert not store.exists("jobs/1")


def test_what_another_has_just_deleted_is_no_error(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.make()
    monkeypatch.setattr(LocalFileSystem, "exists", lambda *_, **__: True)  # it was a moment ago
    store.delete("uploads/1")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "jobs/../../x", "a\\..\\b", "a\0b"])
def test_no_path_leads_out_of_the_store(store: ArtifactStore, path: str) -> None:
    with pytest.raises(InvalidInput, match="relative path"):
        store.open(path)
