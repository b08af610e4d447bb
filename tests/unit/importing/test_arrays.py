"""NumPy's files: the usual names and shapes, and what must not be read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sent_files import digits, limits, npz, packed_npz, read_files, refusal

TRAIN, TEST = digits(30), digits(12)
KERAS = {
    "x_train": TRAIN["x"],
    "y_train": TRAIN["y"],
    "x_test": TEST["x"],
    "y_test": TEST["y"],
}


def version(folder: Path, files: dict[str, bytes], **options: Any) -> str:
    return read_files(folder, files, **options).done.version


@pytest.mark.parametrize("save", [npz, packed_npz])
def test_keras_names(save: Any, tmp_path: Path) -> None:
    reading = read_files(tmp_path, {"data.npz": save(**KERAS)})
    for name, array in KERAS.items():
        assert (reading.arrays[name] == array).all()
    assert reading.done.notes == []


def test_medmnist_names_with_columns_of_labels_and_a_validation_part(tmp_path: Path) -> None:
    file = npz(
        train_images=TRAIN["x"][..., 0],
        train_labels=TRAIN["y"][:, None].astype(np.uint8),
        val_images=digits(6)["x"][..., 0],
        val_labels=digits(6)["y"][:, None],
        test_images=TEST["x"][..., 0],
        test_labels=TEST["y"][:, None],
    )
    reading = read_files(tmp_path, {"bloodmnist.npz": file})
    assert (reading.done.train_images, reading.done.test_images) == (36, 12)
    assert "The validation images join the training images" in reading.done.notes[0]


def test_images_and_labels_in_files_of_their_own(tmp_path: Path) -> None:
    files = {
        "kmnist-train-imgs.npz": npz(arr_0=TRAIN["x"][..., 0]),
        "kmnist-train-labels.npz": npz(arr_0=TRAIN["y"]),
        "kmnist-test-imgs.npz": npz(arr_0=TEST["x"][..., 0]),
        "kmnist-test-labels.npz": npz(arr_0=TEST["y"]),
    }
    assert version(tmp_path, files) == version(tmp_path, {"data.npz": npz(**KERAS)})


def test_names_in_one_word_with_capitals_and_numbers(tmp_path: Path) -> None:
    plain = version(tmp_path, {"data.npz": npz(**KERAS)})
    for names in (
        ("trainImages", "trainLabels", "testImages", "testLabels"),
        ("X_train1", "Y_train1", "X_test1", "Y_test1"),
    ):
        renamed = dict(zip(names, KERAS.values(), strict=True))
        assert version(tmp_path, {"a.npz": npz(**renamed)}) == plain
    files = {
        "trainset.npz": npz(x=KERAS["x_train"], y=KERAS["y_train"]),
        "testset.npz": npz(x=KERAS["x_test"], y=KERAS["y_test"]),
    }
    assert version(tmp_path, files) == plain


def test_bare_arrays(tmp_path: Path) -> None:
    files = {}
    for name, array in KERAS.items():
        file = io.BytesIO()
        np.save(file, array)
        files[f"{name}.npy"] = file.getvalue()
    assert version(tmp_path, files) == version(tmp_path, {"data.npz": npz(**KERAS)})


def test_one_pair_is_split(tmp_path: Path) -> None:
    reading = read_files(tmp_path, {"data.npz": npz(x=TRAIN["x"], y=TRAIN["y"])})
    assert (reading.done.train_images, reading.done.test_images) == (24, 6)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.reshape(len(x), -1),
        lambda x: x[..., 0],
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x.astype(np.float32),
        lambda x: (x / 255).astype(np.float32),
        lambda x: x / 255,
        lambda x: x.astype(np.int64),
        lambda x: x.astype(">u2"),
        np.asfortranarray,
    ],
    ids=["rows", "planes", "NCHW", "float32", "unit", "unit64", "int64", "big-endian", "Fortran"],
)
def test_shapes_and_kinds_of_pixels_that_mean_the_same(form: Any, tmp_path: Path) -> None:
    plain = version(tmp_path, {"a.npz": npz(x=TRAIN["x"], y=TRAIN["y"])})
    assert version(tmp_path, {"a.npz": npz(x=form(TRAIN["x"]), y=TRAIN["y"])}) == plain


def test_truth_values_are_black_and_white(tmp_path: Path) -> None:
    reading = read_files(tmp_path, {"a.npz": npz(x=TRAIN["x"] > 127, y=TRAIN["y"])})
    assert set(np.unique(reading.arrays["x_train"])) == {0, 255}


def test_single_values_and_rows_that_belong_to_no_images_are_left_out(tmp_path: Path) -> None:
    plain = version(tmp_path, {"a.npz": npz(**KERAS)})
    extras = {
        "created": np.array(2024),
        "about": np.array({"by": "A. Gardener"}, dtype=object),
        "ids": np.arange(30),
        "class_names": np.array(["a", "b", "c"]),
    }
    reading = read_files(tmp_path, {"a.npz": npz(**KERAS, **extras)})
    assert reading.done.version == plain
    assert reading.done.notes == [
        "a.npz: created.npy is left out: it is a single value.",
        "a.npz: about.npy is left out: it is a single value.",
        "ids is left out: it belongs to no images.",
        "class_names is left out: it belongs to no images.",
    ]
    one = read_files(tmp_path, {"a.npz": npz(photos=TRAIN["x"], digit_labels=TRAIN["y"], **extras)})
    assert one.done.train_images == 24


def test_of_scikit_learns_arrays_the_images_are_taken(tmp_path: Path) -> None:
    file = npz(
        data=TRAIN["x"].reshape(30, -1).astype(float),
        target=TRAIN["y"],
        frame=np.array(None),
        feature_names=np.array([f"pixel_{place}" for place in range(64)]),
        target_names=np.arange(3),
        images=TRAIN["x"][..., 0].astype(float),
        DESCR=np.array("Digits"),
    )
    reading = read_files(tmp_path, {"digits.npz": file})
    assert reading.done.version == version(tmp_path, {"a.npz": npz(**TRAIN)})
    assert "data is left out: the images are in images." in reading.done.notes
    rows = npz(images=np.zeros((7, 8, 8)), data=TRAIN["x"].reshape(30, -1), target=TRAIN["y"])
    assert version(tmp_path, {"a.npz": rows}) == reading.done.version


def test_images_without_labels_beside_others_are_left_out(tmp_path: Path) -> None:
    arrays = {name: KERAS[name] for name in ("x_train", "y_train", "x_test")}
    reading = read_files(tmp_path, {"a.npz": npz(**arrays)})
    assert len(reading.both[0]) == 30
    assert "x_test is left out: it has no labels." in reading.done.notes
    words = refusal(tmp_path, {"a.npz": npz(**arrays, labels_tst=KERAS["y_test"])})
    assert "There must be images and labels" in words
    alone = {name: KERAS[name] for name in ("x_train", "x_test")}
    assert "There must be images and labels" in refusal(tmp_path, {"a.npz": npz(**alone)})


def test_whether_pixels_go_to_one_is_decided_for_all_parts_together(tmp_path: Path) -> None:
    black = np.zeros(TEST["x"].shape)
    black[0, 0, 0] = 1
    bright = KERAS | {"x_train": TRAIN["x"].astype(float), "x_test": black}
    reading = read_files(tmp_path, {"a.npz": npz(**bright)})
    assert (reading.arrays["x_test"] == black).all()
    shares = KERAS | {"x_train": TRAIN["x"] / 255, "x_test": black}
    assert read_files(tmp_path, {"a.npz": npz(**shares)}).arrays["x_test"].max() == 255


@pytest.mark.parametrize("kind", ["U8", "S8"])
def test_labels_may_be_texts(kind: str, tmp_path: Path) -> None:
    names = np.array(["owl", "cat", "dog"])[TRAIN["y"]].astype(kind)
    reading = read_files(tmp_path, {"a.npz": npz(x=TRAIN["x"], y=names)})
    assert reading.done.classes == ["cat", "dog", "owl"]


def test_labels_may_be_whole_real_numbers(tmp_path: Path) -> None:
    file = npz(x=TRAIN["x"], y=TRAIN["y"].astype(np.float32))
    assert read_files(tmp_path, {"a.npz": file}).done.classes == ["0", "1", "2"]
    half = npz(x=TRAIN["x"], y=TRAIN["y"] + 0.5)
    assert "A label must be a whole number" in refusal(tmp_path, {"a.npz": half})
    missing = npz(x=TRAIN["x"], y=np.where(TRAIN["y"] == 2, np.nan, TRAIN["y"]))
    assert "row 2: Every image needs a label" in refusal(tmp_path, {"a.npz": missing})


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self._path,))


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    objects = np.array([Trap(trap)] * 30, dtype=object)
    for arrays in ({"x": TRAIN["x"], "y": objects}, {"x": objects, "y": TRAIN["y"]}):
        words = refusal(tmp_path, {"a.npz": npz(**arrays)})
        assert "objects are pickles, which can run programs. Received: dtype object." in words
    assert not trap.exists()


def header(text: str, content: bytes = b"") -> bytes:
    """Return an `.npy` file with a header of one's own."""
    padded = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + content


def with_images(content: bytes) -> bytes:
    """Return an `.npz` whose images are a bare file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", content)
        labels = io.BytesIO()
        np.save(labels, TRAIN["y"])
        archive.writestr("y.npy", labels.getvalue())
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "It must be an array in NumPy's format"),
        (b"not an array", "It must be an array in NumPy's format"),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (30, 8, 8)}"),
            "1,920 bytes too few",
        ),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999, 8, 8)}"),
            "An array may take at most",
        ),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (30, 900000, 900000)}"),
            "An array may take at most",
        ),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 400000000)}"),
            "at most 224 pixels a side",
        ),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': (20000000, 8, 8)}"),
            "may have 1 to 10,000,000 images",
        ),
        (
            header("{'descr': '|u1', 'fortran_order': False, 'shape': ()}"),
            "There must be images and labels",
        ),
        (header("{'descr': '|u1', 'fortran_order': False, 'shape': (0, 8, 8)}"), "1 to 10,000,000"),
        (header("__import__('os').system('true')"), "It must be an array in NumPy's format"),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 200,
            "It must be an array in NumPy's format",
        ),
        (b"\x93NUMPY\x09\x00" + bytes(200), "an array in NumPy's format"),
        (
            header("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (30,)}"),
            "Arrays must hold numbers or texts",
        ),
    ],
)
def test_headers_that_lie_are_refused_before_anything_is_read(
    content: bytes, words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, {"a.npz": with_images(content)})


def test_a_wrong_pixel_is_named(tmp_path: Path) -> None:
    wrong = TRAIN["x"].astype(np.int32)
    wrong[7, 0, 0, 0] = 300
    words = refusal(tmp_path, {"a.npz": npz(x=wrong, y=TRAIN["y"])})
    assert "row 7: A pixel of x must be a whole number from 0 to 255. Received: 300." in words
    broken = TRAIN["x"] / 255
    broken[3, 0, 0, 0] = np.nan
    assert "row 3: A pixel of x must be a number" in refusal(
        tmp_path, {"a.npz": npz(x=broken, y=TRAIN["y"])}, pixel_range="unit"
    )


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": TRAIN["x"]}, "There must be images and labels"),
        ({"a": TRAIN["y"], "b": TRAIN["y"]}, "There must be images and labels"),
        ({"x": TRAIN["x"], "images": TRAIN["x"], "y": TRAIN["y"]}, "There must be images and"),
        ({"x": TRAIN["x"], "y": TRAIN["y"], "labels": TRAIN["y"]}, "There must be images and"),
        ({"x": TRAIN["x"], "y": TRAIN["y"][:-1]}, "There must be as many labels as images"),
        ({"x": TRAIN["x"], "y": np.eye(3)[TRAIN["y"]]}, "not a row of several (one-hot)"),
        ({"x": TRAIN["x"][..., None], "y": TRAIN["y"]}, "Images must be [N, pixels]"),
        ({"x": TRAIN["x"].astype("U3"), "y": TRAIN["y"]}, "Images must be numbers"),
        ({"x": digits(30, channels=2)["x"], "y": TRAIN["y"]}, "Images must be grey or RGB"),
        ({"x": digits(30, side=7)["x"], "y": TRAIN["y"]}, "8 to 224 pixels a side"),
    ],
)
def test_what_are_no_images_and_labels_is_refused(
    arrays: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, {"a.npz": npz(**arrays)})


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = bytearray(npz(x=TRAIN["x"], y=TRAIN["y"]))
    assert "no zip" in refusal(tmp_path, {"a.npz": bytes(whole[:-40])})
    whole[400] ^= 0xFF  # in the pixels: only the checksum tells
    assert "It is damaged: Bad CRC-32" in refusal(tmp_path, {"a.npz": bytes(whole)})


def test_an_archive_that_grows_beyond_measure_is_refused(tmp_path: Path) -> None:
    black = np.zeros((150_000, 28, 28), np.uint8)  # 118 MB out of 0.1
    file = packed_npz(x=black, y=np.arange(150_000) % 2)
    words = refusal(tmp_path, {"a.npz": file}, within=limits(archive_ratio=50))
    assert "An archive may grow 50 times at most when it is unpacked" in words


def test_bytes_are_no_shares_unless_they_are_0_or_1(tmp_path: Path) -> None:
    data = digits(30)
    images = data["x"] % 2
    whole = read_files(tmp_path, {"a.npz": npz(x=images, y=data["y"])}, pixel_range="unit")
    assert set(np.unique(whole.both[0])) == {0, 255}
    images[4, 0, 0] = 7
    words = refusal(tmp_path, {"a.npz": npz(x=images, y=data["y"])}, pixel_range="unit")
    assert "from 0 to 1" in words
    assert "Received: 7" in words
