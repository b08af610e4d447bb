"""Checkpoint files: all or nothing, of this job only, two of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.protocol import Checkpoint, Epoch
from shared.spec import JobSpec
from shared.spec.augmentation import Shift
from shared.spec.job import Preprocessing, Resources
from worker.training import checkpoints
from worker.training.checkpoints import Position, State, Unusable, Writer, read, write

SPEC = JobSpec()
EPOCH = Epoch(
    epoch=1,
    train_accuracy=1 / 3,
    train_loss=0.1,
    eval_accuracy=0.7,
    eval_loss=1e-300,
    learning_rate=0.001 * 0.9,
    seconds=2.5,
    images_per_second=17.0,
)


def state_at(epoch: int, step: int = 0, **changes: Any) -> State:
    parts: dict[str, Any] = {
        "model": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.int64)],
        "optimizer": [],
        "best": [np.ones((2, 3), np.float32), np.array([3, 4], np.int64)],
    }
    position = Position(epoch=epoch, step=step, loss=0.1 + 0.2, correct=7, images=9)
    return State(position, "float32", [EPOCH], **{**parts, **changes})


def test_what_is_written_is_read_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    written = state_at(2, 5)
    write(path, written, SPEC, "v1")
    found = read(path, SPEC, "v1")
    assert found.position == written.position
    assert found.precision == written.precision
    assert found.history == written.history
    for part in ("model", "optimizer", "best"):
        ours, theirs = getattr(written, part), getattr(found, part)
        assert [(a.dtype, a.tobytes()) for a in ours] == [(a.dtype, a.tobytes()) for a in theirs]


def test_a_state_without_best_weights_has_none_when_read(tmp_path: Path) -> None:
    write(tmp_path / "one.npz", state_at(1, best=None), SPEC, "v1")
    assert read(tmp_path / "one.npz", SPEC, "v1").best is None


def test_only_what_decides_the_numbers_binds_a_checkpoint_to_its_job(tmp_path: Path) -> None:
    write(tmp_path / "one.npz", state_at(1), SPEC, "v1")
    elsewhere = SPEC.model_copy(update={"resources": Resources(queue="big", checkpoint_seconds=5)})
    read(tmp_path / "one.npz", elsewhere, "v1")


def test_a_field_that_is_newer_than_the_checkpoint_counts_by_its_default(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    write(path, state_at(1), SPEC, "v1")
    with np.load(path) as members:
        arrays = {name: members[name] for name in members.files}
    meta = json.loads(arrays["meta"].tobytes())
    del meta["spec"]["preprocessing"]["augmentation"]
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(path, **arrays)
    read(path, SPEC, "v1")
    shifted = SPEC.model_copy(update={"preprocessing": Preprocessing(augmentation=Shift())})
    with pytest.raises(Unusable, match="preprocessing"):
        read(path, shifted, "v1")


@pytest.mark.parametrize(
    ("spec", "version", "word"),
    [(JobSpec(seed=1), "v1", "seed differ"), (SPEC, "v2", "dataset")],
)
def test_a_checkpoint_of_another_job_is_refused(
    tmp_path: Path, spec: JobSpec, version: str, word: str
) -> None:
    write(tmp_path / "one.npz", state_at(1), SPEC, "v1")
    with pytest.raises(Unusable, match=word):
        read(tmp_path / "one.npz", spec, version)


def test_a_flipped_byte_anywhere_in_the_arrays_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    write(path, state_at(1), SPEC, "v1")
    good = path.read_bytes()
    for place in range(0, len(good), 97):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x40]) + good[place + 1 :])
        try:
            found = read(path, SPEC, "v1")
        except Unusable:
            continue
        # Bytes that no reader looks at, such as a file's date, do no harm.
        assert [a.tobytes() for a in found.model] == [a.tobytes() for a in state_at(1).model]
        assert found.position == state_at(1).position


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_cut_off_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "one.npz"
    write(path, state_at(1), SPEC, "v1")
    good = path.read_bytes()
    path.write_bytes(good[: int(kept * len(good)) if kept < 1 else int(kept)])
    with pytest.raises(Unusable, match="cannot be read"):
        read(path, SPEC, "v1")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="FileNotFoundError"):
        read(tmp_path / "none.npz", SPEC, "v1")


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", meta=np.array([{"format": 1}], dtype=object))
    with pytest.raises(Unusable, match="cannot be read"):
        read(tmp_path / "evil.npz", SPEC, "v1")


def test_a_write_that_fails_leaves_the_earlier_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one.npz"
    write(path, state_at(1), SPEC, "v1")

    def full(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, state_at(2), SPEC, "v1")
    monkeypatch.undo()
    assert [item.name for item in tmp_path.iterdir()] == ["one.npz"]
    assert read(path, SPEC, "v1").position.epoch == 1


class Announced(list[Checkpoint]):
    """What a writer announced."""


@pytest.fixture
def announced() -> Announced:
    return Announced()


@pytest.fixture
def writer(tmp_path: Path, announced: Announced) -> Writer:
    return Writer(tmp_path / "checkpoints", SPEC, "v1", announced.append)


def test_a_writer_announces_complete_files_and_keeps_the_two_newest(
    writer: Writer, announced: Announced
) -> None:
    for epoch in (1, 2, 3):
        writer.submit(state_at(epoch, step=4))
    writer.wait()
    assert [(item.epoch, item.step) for item in announced] == [(1, 4), (2, 4), (3, 4)]
    assert sorted(writer.folder.iterdir()) == [item.path for item in announced[1:]]
    for item in announced[1:]:
        content = item.path.read_bytes()
        assert (item.bytes, item.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert writer.newest == state_at(3, step=4).position


def test_a_writer_clears_what_is_not_known_to_be_good(writer: Writer, announced: Announced) -> None:
    writer.folder.mkdir()
    resumed = writer.folder / "epoch-00002-step-00000000.npz"
    for name in (resumed.name, "epoch-00009-step-00000000.npz", "epoch-00001.partial"):
        (writer.folder / name).write_bytes(b"")
    writer.take_over(resumed, Position(epoch=2))
    writer.submit(state_at(3))
    writer.wait()
    assert sorted(writer.folder.iterdir()) == [resumed, announced[0].path]


def test_a_full_disk_is_told_and_training_goes_on(
    writer: Writer,
    announced: Announced,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    writer.submit(state_at(1))
    writer.wait()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write", full)
    writer.submit(state_at(2))
    writer.wait()
    assert "No space left on device" in capsys.readouterr().err
    assert [item.epoch for item in announced] == [1]
    assert writer.newest.epoch == 1
