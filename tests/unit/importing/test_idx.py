"""IDX, as MNIST and its relatives come."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.sent_files import archive, digits, idx, limits, read_files, refusal, zipped

TRAIN, TEST = digits(30), digits(12)
FILES = {
    "train-images-idx3-ubyte": idx(TRAIN["x"][..., 0]),
    "train-labels-idx1-ubyte": idx(TRAIN["y"]),
    "t10k-images-idx3-ubyte": idx(TEST["x"][..., 0]),
    "t10k-labels-idx1-ubyte": idx(TEST["y"]),
}


@pytest.mark.parametrize("packed", [False, True])
def test_the_four_files_of_mnist(packed: bool, tmp_path: Path) -> None:
    files = {f"{name}.gz": zipped(content) for name, content in FILES.items()} if packed else FILES
    reading = read_files(tmp_path, files)
    assert (reading.arrays["x_train"] == TRAIN["x"]).all()
    assert (reading.arrays["y_train"] == TRAIN["y"]).all()
    assert (reading.arrays["x_test"] == TEST["x"]).all()
    assert (reading.arrays["y_test"] == TEST["y"]).all()


def test_one_edition_out_of_an_archive_of_several_transposed(tmp_path: Path) -> None:
    members = []
    for edition, data in (("balanced", TRAIN), ("letters", TEST)):
        for part in ("train", "test"):
            turned = data["x"].transpose(0, 2, 1, 3)[..., 0]
            name = f"gzip/emnist-{edition}-{part}"
            members.append((f"{name}-images-idx3-ubyte.gz", zipped(idx(turned))))
            members.append((f"{name}-labels-idx1-ubyte.gz", zipped(idx(data["y"]))))
    file = {"gzip.zip": archive(members)}
    reading = read_files(tmp_path, file, member_words=["balanced"], transpose=True)
    assert (reading.arrays["x_train"] == TRAIN["x"]).all()
    assert reading.done.test_images == 30
    words = refusal(tmp_path, file, member_words=["digits"])
    assert "An archive must hold pictures (PNG, JPEG or WebP), arrays" in words


def test_files_that_are_there_twice_count_once_as_in_kaggles_archive(tmp_path: Path) -> None:
    members = []
    for name, content in FILES.items():
        members.append((f"{name}/{name}", content))
        members.append((name.replace("-idx", ".idx"), content))
    reading = read_files(tmp_path, {"archive.zip": archive(members)})
    assert reading.done.version == read_files(tmp_path, FILES).done.version
    assert len(reading.done.notes) == 4
    assert reading.done.notes[0] == (
        "archive.zip: train-images.idx3-ubyte is left out: another file holds the same bytes."
    )
    other = (members[1][0], idx(TRAIN["x"][::-1, ..., 0]))
    words = refusal(tmp_path, {"archive.zip": archive([members[0], other, *members[2:]])})
    assert "Each IDX file of images needs one of labels" in words


def test_a_single_pair_of_any_name_is_split(tmp_path: Path) -> None:
    files = {"a": FILES["train-images-idx3-ubyte"], "b": FILES["train-labels-idx1-ubyte"]}
    assert read_files(tmp_path, files).done.train_images == 24


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"t10k-labels-idx1-ubyte": None}, "Each IDX file of images needs one of labels"),
        (
            {"train-labels-idx1-ubyte": idx(TRAIN["y"][:-1])},
            "There must be as many labels as images. Received: 30 images, 29 labels.",
        ),
        ({"train-images-idx3-ubyte": FILES["train-images-idx3-ubyte"][:-1]}, "1 bytes short"),
        (
            {"train-images-idx3-ubyte": FILES["train-images-idx3-ubyte"] + b"\0"},
            "as long as its header says. Received: more bytes than that.",
        ),
        (
            {"train-labels-idx1-ubyte": FILES["train-labels-idx1-ubyte"] + b"\0"},
            "as long as its header says. Received: more bytes than that.",
        ),
        ({"train-images-idx3-ubyte": b"\0\0\x08\x03\0\0"}, "as long as its header says"),
        (
            {"train-images-idx3-ubyte": b"\0\0\x08\x03" + struct.pack(">3I", 1 << 31, 8, 8)},
            "may have 1 to 10,000,000 images",
        ),
        (
            {"train-images-idx3-ubyte": b"\0\0\x08\x03" + struct.pack(">3I", 30, 1 << 31, 8)},
            "at most 224 pixels a side",
        ),
        (
            {"train-images-idx3-ubyte": b"\0\0\x0b\x03" + struct.pack(">3I", 30, 8, 8)},
            "must be unsigned bytes",
        ),
    ],
)
def test_what_does_not_belong_together_or_lies_is_refused(
    changes: dict[str, bytes | None], words: str, tmp_path: Path
) -> None:
    changed = FILES | changes
    assert words in refusal(tmp_path, {name: c for name, c in changed.items() if c is not None})


def test_a_gzip_that_is_cut_off_or_grows_beyond_measure_is_refused(tmp_path: Path) -> None:
    images = zipped(FILES["train-images-idx3-ubyte"])
    cut = FILES | {"train-images-idx3-ubyte": images[:-30]}
    assert "It is damaged: Compressed file ended" in refusal(tmp_path, cut)
    black = zipped(idx(np.zeros((90_000, 28, 28))))
    labels = idx(np.arange(90_000) % 2)
    words = refusal(tmp_path, {"images": black, "labels": labels}, within=limits(archive_ratio=9))
    assert "A compressed file may grow 9 times at most when it is unpacked" in words
