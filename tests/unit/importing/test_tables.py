"""CSV: as the tutorial and Kaggle have it, as others have it, and as it must not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shared.datasets.bundled import BUNDLED
from tests.sent_files import digits, limits, pixel_names, read_files, refusal, table, zipped


def test_the_tutorials_two_files_become_the_bundled_mnist(tmp_path: Path) -> None:
    mnist = BUNDLED["mnist"]
    files = {}
    for part, count in (("train", 60_000), ("test", 10_000)):
        rows = np.c_[mnist.read(f"y_{part}"), mnist.read(f"x_{part}").reshape(count, -1)]
        files[f"mnist_{part}.csv"] = pd.DataFrame(rows).to_csv(index=False, header=False).encode()
    reading = read_files(tmp_path, files)
    assert reading.done.version == mnist.content.version
    assert tuple(reading.done.classes) == mnist.content.classes
    assert reading.done.notes == []
    assert reading.shares == sorted(reading.shares)
    assert reading.shares[-1] == 1.0


@pytest.mark.parametrize("label_at", [0, 20, 64])
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_names_the_label_wherever_it_stands(
    label_at: int, packed: bool, tmp_path: Path
) -> None:
    data = digits(30)
    content = table(data, header=pixel_names(data), label_at=label_at)
    reading = read_files(tmp_path, {"train.csv": zipped(content) if packed else content})
    images, labels = reading.both
    order = np.lexsort((images[:, 1, 1, 0], images[:, 0, 0, 0]))
    expected = np.lexsort((data["x"][:, 1, 1, 0], data["x"][:, 0, 0, 0]))
    assert (images[order] == data["x"][expected]).all()
    assert (labels[order] == data["y"][expected]).all()


def test_one_file_is_split_with_every_class_in_its_share(tmp_path: Path) -> None:
    data = digits(300)
    data["y"] = np.repeat([0, 1, 2], [200, 90, 10])
    first = read_files(tmp_path, {"a.csv": table(data)}, test_fraction=0.1)
    assert np.bincount(first.arrays["y_test"]).tolist() == [20, 9, 1]
    assert np.bincount(first.arrays["y_train"]).tolist() == [180, 81, 9]
    assert "30 of 300 images are held back" in first.done.notes[0]
    again = read_files(tmp_path, {"b.csv": table(data)}, test_fraction=0.1)
    other = read_files(tmp_path, {"a.csv": table(data)}, test_fraction=0.1, seed=1)
    assert again.done.version == first.done.version != other.done.version


def test_kaggles_test_file_without_labels_is_left_out(tmp_path: Path) -> None:
    data = digits(30)
    unlabelled = pd.DataFrame(data["x"].reshape(30, -1), columns=pixel_names(data))
    files = {
        "train.csv": table(data, header=pixel_names(data)),
        "test.csv": unlabelled.to_csv(index=False).encode(),
        "sample_submission.csv": b"ImageId,Label\n1,0\n2,0\n",
    }
    reading = read_files(tmp_path, files)
    assert len(reading.both[0]) == 30
    assert "test.csv has no labels and is left out." in reading.done.notes
    assert "sample_submission.csv has 2 columns, no images, and is left out." in reading.done.notes


def test_labels_may_be_names_with_and_without_header(tmp_path: Path) -> None:
    data, names = digits(30), ["owl", "cat", "dog"]
    for header in (None, pixel_names(data)):
        reading = read_files(tmp_path, {"a.csv": table(data, names=names, header=header)})
        assert reading.done.classes == ["cat", "dog", "owl"]
        images, labels = reading.both
        place = int(np.flatnonzero((images == data["x"][0]).all(axis=(1, 2, 3)))[0])
        assert reading.done.classes[labels[place]] == "owl"


def test_labels_may_be_any_numbers_and_are_put_in_order(tmp_path: Path) -> None:
    data = digits(30)
    content = table(data, names=["10", "9", "-1"])
    assert read_files(tmp_path, {"a.csv": content}).done.classes == ["-1", "9", "10"]


def test_classes_can_be_named(tmp_path: Path) -> None:
    content = table(digits(30))
    reading = read_files(tmp_path, {"a.csv": content}, class_names=["a", "b", "c"])
    assert reading.done.classes == ["a", "b", "c"]
    assert reading.done.version != read_files(tmp_path, {"a.csv": content}).done.version
    words = refusal(tmp_path, {"a.csv": content}, class_names=["a", "b"])
    assert (
        words == "a.csv: The class names must be 3 different ones, one a class. Received: 2: a, b."
    )


def test_a_column_of_row_numbers_is_no_pixel(tmp_path: Path) -> None:
    data = digits(30)
    frame = pd.DataFrame(data["x"].reshape(30, -1), columns=pixel_names(data))
    frame["label"] = data["y"]
    reading = read_files(tmp_path, {"a.csv": frame.to_csv().encode()})  # pandas writes its index
    assert (reading.done.height, reading.done.width) == (8, 8)


def test_numbers_in_order_are_a_header(tmp_path: Path) -> None:
    plain = read_files(tmp_path, {"a.csv": table(digits(30))}).done
    columns = range(1 + digits(30)["x"][0].size)
    headed = ",".join(map(str, columns)).encode() + b"\n" + table(digits(30))
    assert read_files(tmp_path, {"a.csv": headed}).done.version == plain.version


def test_a_blank_line_before_the_header_does_not_matter(tmp_path: Path) -> None:
    content = table(digits(30), header=pixel_names(digits(30)))
    plain = read_files(tmp_path, {"a.csv": content}).done
    assert read_files(tmp_path, {"a.csv": b"\n" + content}).done.version == plain.version


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("index", [False, True])
def test_a_header_that_only_counts_is_no_image(first: int, index: bool, tmp_path: Path) -> None:
    data = digits(30)
    frame = pd.DataFrame(np.c_[data["y"], data["x"].reshape(30, -1)])
    frame.columns = pd.RangeIndex(first, first + 65)
    plain = read_files(tmp_path, {"a.csv": table(data)}).done.version
    counted = frame.to_csv(index=index).encode()
    assert read_files(tmp_path, {"a.csv": counted}).done.version == plain
    named = frame.set_axis(["kind", *map(str, range(64))], axis="columns")
    words = refusal(tmp_path, {"a.csv": named.to_csv(index=index).encode()})
    assert "A table needs a column of labels" in words


def test_empty_cells_of_the_first_row_are_no_names(tmp_path: Path) -> None:
    content = table(digits(30), change=lambda rows: rows[0].__setitem__(slice(5, 8), ["", " ", ""]))
    words = refusal(tmp_path, {"a.csv": content})
    assert words.startswith("a.csv, row 1, column 6: A pixel must be")
    assert words.endswith("Received: nothing.")


def test_columns_that_were_sorted_as_texts_are_taken_by_their_numbers(tmp_path: Path) -> None:
    data = digits(30)
    frame = pd.DataFrame(data["x"].reshape(30, -1), columns=pixel_names(data))
    frame["label"] = data["y"]
    plain = read_files(tmp_path, {"a.csv": frame.to_csv(index=False).encode()})
    text = frame[sorted(frame.columns)].to_csv(index=False)
    reading = read_files(tmp_path, {"a.csv": text.encode()})
    assert reading.done.version == plain.done.version
    assert reading.done.notes[0] == "a.csv: the columns of pixels are taken by their numbers."
    bare = text.replace("pixel", "")
    assert read_files(tmp_path, {"a.csv": bare.encode()}).done.version == plain.done.version
    assert not any("by their numbers" in note for note in plain.done.notes)
    wrong = frame.astype(int)
    wrong.loc[3, "pixel10"] = 256
    content = wrong[sorted(frame.columns)].to_csv(index=False).encode()
    assert refusal(tmp_path, {"a.csv": content}).startswith("a.csv, row 4, column pixel10: A pixel")


@pytest.mark.parametrize("names", [["p1", "q0"], ["p1", "p01"], ["p1x1", "p1x0"], ["p2", "q"]])
def test_columns_of_other_names_are_taken_as_they_stand(names: list[str], tmp_path: Path) -> None:
    data = digits(30)
    header = [*names, *(f"p{index}" for index in range(2, 64))]
    plain = read_files(tmp_path, {"a.csv": table(data)}).done.version
    assert read_files(tmp_path, {"a.csv": table(data, header=header)}).done.version == plain


def test_a_first_label_that_is_called_like_a_header_is_a_row(tmp_path: Path) -> None:
    data = digits(30)
    reading = read_files(tmp_path, {"a.csv": table(data, names=["y", "n", "class"])})
    assert len(reading.both[0]) == 30
    assert reading.done.classes == ["class", "n", "y"]


def test_a_label_that_is_not_utf8_is_named_by_its_row(tmp_path: Path) -> None:
    data = digits(30)
    for header in (None, pixel_names(data)):
        content = table(data, names=["owl", "cat", "dog"], header=header)
        content = b"\n" + content.replace(b"dog", "chien carré".encode("latin-1"))
        assert refusal(tmp_path, {"a.csv": content}) == (
            f"a.csv, row 3, column {'label' if header else 1}: A table must be text in UTF-8: "
            "save it as UTF-8. Received: b'chien carr\\xe9'."
        )


@pytest.mark.parametrize("blank", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n  \n"])
@pytest.mark.parametrize("named", [False, True])
def test_blank_lines_before_the_first_do_not_matter(
    blank: bytes, named: bool, tmp_path: Path
) -> None:
    data = digits(30)
    content = table(data, header=pixel_names(data) if named else None)
    plain = read_files(tmp_path, {"a.csv": content}).done.version
    assert read_files(tmp_path, {"a.csv": blank + content}).done.version == plain


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_found_out(delimiter: str, tmp_path: Path) -> None:
    content = table(digits(30)).replace(b",", delimiter.encode())
    assert read_files(tmp_path, {"a.csv": content}).done.train_images == 24


def test_line_ends_marks_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    content = table(digits(30))
    plain = read_files(tmp_path, {"a.csv": content}).done.version
    odd = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n") + b"\r\n\r\n"
    assert read_files(tmp_path, {"a.csv": odd}).done.version == plain


def test_colour_and_other_shapes(tmp_path: Path) -> None:
    colour = digits(30, channels=3)
    reading = read_files(tmp_path, {"a.csv": table(colour)})
    assert reading.arrays["x_train"].shape == (24, 8, 8, 3)
    planes = {"x": colour["x"].transpose(0, 3, 1, 2), "y": colour["y"]}
    same = read_files(tmp_path, {"a.csv": table(planes)}, channels_first=True)
    assert same.done.version == reading.done.version
    wide = {"x": digits(30, side=16)["x"][:, :8], "y": colour["y"]}
    shaped = read_files(tmp_path, {"a.csv": table(wide)}, height=8, width=16)
    assert shaped.arrays["x_train"].shape == (24, 8, 16, 1)
    turned = {"x": wide["x"].transpose(0, 2, 1, 3), "y": wide["y"]}
    back = read_files(tmp_path, {"a.csv": table(turned)}, height=16, width=8, transpose=True)
    assert back.done.version == shaped.done.version


def test_pixels_from_0_to_1(tmp_path: Path) -> None:
    data = digits(30)

    def scale(rows: list[list[Any]]) -> None:
        for row in rows:
            row[1:] = [value / 255 for value in row[1:]]

    content = table(data, change=scale)
    reading = read_files(tmp_path, {"a.csv": content}, pixel_range="unit")
    assert reading.done.version == read_files(tmp_path, {"a.csv": table(data)}).done.version
    assert "choose that pixel range" in refusal(tmp_path, {"a.csv": content})


def put(row: int, column: int, value: Any) -> Any:
    def change(rows: list[list[Any]]) -> None:
        rows[row][column] = value

    return change


@pytest.mark.parametrize(
    ("value", "received"),
    [
        (256, "256"),
        (-1, "-1"),
        ("dark", "dark"),
        ("", "nothing"),
        ("12.5", "12.5"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("0x10", "0x10"),
        ("True", "True"),
        ("1e400", "inf"),
    ],
)
def test_a_wrong_pixel_is_named_by_row_column_value_and_rule(
    value: Any, received: str, tmp_path: Path
) -> None:
    data = digits(30)
    content = table(data, header=pixel_names(data), change=put(16, 5, value))
    words = refusal(tmp_path, {"bad.csv": content})
    rule = "A pixel must be a whole number from 0 to 255."
    assert words.lower() == f"bad.csv, row 17, column pixel4: {rule} received: {received}.".lower()


def test_a_column_of_truth_values_is_no_pixel(tmp_path: Path) -> None:
    def change(rows: list[list[Any]]) -> None:
        for row in rows:
            row[3] = "True"

    words = refusal(tmp_path, {"a.csv": table(digits(30), change=change)})
    assert words.startswith("a.csv, row 1, column 4: A pixel must be")


def test_a_wrong_pixel_far_down_has_its_own_row(tmp_path: Path) -> None:
    data = digits(3000, side=60)  # more than one chunk of parsing
    words = refusal(tmp_path, {"a.csv": table(data, change=put(2999, 3600, 300))})
    assert words.startswith("a.csv, row 3,000, column 3601:")


@pytest.mark.parametrize("value", ["", "  ", "\x07bell", "x" * 101])
def test_a_label_that_is_none_is_named(value: str, tmp_path: Path) -> None:
    words = refusal(tmp_path, {"a.csv": table(digits(30), change=put(4, 0, value))})
    assert words.startswith("a.csv, row 5, column 1: A label must be a whole number or a name")


def test_rows_of_another_length_are_named(tmp_path: Path) -> None:
    longer = table(digits(30), change=lambda rows: rows[9].append(1))
    words = refusal(tmp_path, {"a.csv": longer})
    assert words == "a.csv, row 10: Every row must have 65 columns as the first line. Received: 66."
    header = pixel_names(digits(30))
    named = table(digits(30), header=header, change=lambda rows: rows[9].append(1))
    blanks = b"\n" + b"\n \n".join(named.split(b"\n", 3))
    assert refusal(tmp_path, {"a.csv": blanks}).startswith("a.csv, row 10: Every row must have 65")
    shorter = table(digits(30), change=lambda rows: rows[9].pop())
    assert refusal(tmp_path, {"a.csv": shorter}).startswith("a.csv, row 10, column 65: A pixel")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "A file must not be empty"),
        (b"\n\n", "A file must not be empty"),
        (b"label,a,b\n", "must make an image"),
        (b"1,2,3\n4,5,6\n", "must make an image"),
        (b"\xff\xfe1\x002\x00", "must be a CSV"),
        (b"\xe9t\xe9,1,2\n", "must be text in UTF-8"),
        (b'"never closed,1,2\n', "must be separated by comma, semicolon or tab"),
        (b"5 0 0 12\n3 1 0 7\n", "comma, semicolon or tab. Received: 5 0 0 12"),
        (b"\n<!DOCTYPE html>\n<html>\n", "this is a page, as servers send to those who must sign"),
    ],
)
def test_what_is_no_table_of_images_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    assert words in refusal(tmp_path, {"a.csv": content})


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    header = ",".join(["label", *pixel_names(digits(1))]).encode()
    assert refusal(tmp_path, {"a.csv": header + b"\n"}) == (
        "a.csv: A table must have rows. Received: none."
    )


def test_a_table_without_labels_is_refused(tmp_path: Path) -> None:
    data = digits(30)
    frame = pd.DataFrame(data["x"].reshape(30, -1), columns=pixel_names(data))
    words = refusal(tmp_path, {"a.csv": frame.to_csv(index=False).encode()})
    assert "A table needs a column of labels" in words
    named = frame.assign(kind=data["y"]).to_csv(index=False).encode()
    assert "A table needs a column of labels" in refusal(tmp_path, {"a.csv": named})
    assert read_files(tmp_path, {"a.csv": named}, label_column="kind").done.train_images == 24
    assert read_files(tmp_path, {"a.csv": named}, label_column="65").done.train_images == 24
    wrong = refusal(tmp_path, {"a.csv": named}, label_column="colour")
    assert "The label column must be one of the 65: pixel0, pixel1" in wrong


def test_too_many_rows_columns_and_classes_are_refused(tmp_path: Path) -> None:
    content = table(digits(30))
    few = refusal(tmp_path, {"a.csv": content}, within=limits(dataset_images=29))
    assert few == "a.csv: A data set may have at most 29 images. Received: at least 30."
    wide = refusal(tmp_path, {"a.csv": content}, within=limits(dataset_columns=64))
    assert wide == "a.csv: A table may have at most 64 columns. Received: 65."
    classes = refusal(tmp_path, {"a.csv": content}, within=limits(dataset_classes=2))
    assert classes.startswith("a.csv, row 3, column 1: There may be at most 2 classes")
    size = refusal(tmp_path, {"a.csv": content}, within=limits(dataset_bytes=30 * 64 - 1))
    assert "may take at most 1,919 bytes" in size


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    data = digits(30, classes=1)
    assert refusal(tmp_path, {"a.csv": table(data)}) == (
        "a.csv: There must be at least two classes. Received: 0."
    )


def test_the_parts_of_two_files_must_be_clear(tmp_path: Path) -> None:
    files = {"a.csv": table(digits(30)), "b.csv": table(digits(12))}
    both = read_files(tmp_path, files, parts={"a.csv": "train", "b.csv": "test"})
    assert (both.done.train_images, both.done.test_images) == (30, 12)
    assert "what is for training" in refusal(tmp_path, files, parts={"b.csv": "test"})
    alone = refusal(tmp_path, {"test.csv": files["a.csv"]})
    assert alone == (
        "test.csv: There must be images to train on. A name with `test` in it makes them test "
        "images, unless you say as you send the file that it is for training. "
        "Received: test images alone."
    )
    said = read_files(tmp_path, {"test.csv": files["a.csv"]}, parts={"test.csv": "train"})
    assert len(said.both[0]) == 30
    joined = read_files(tmp_path, files)
    assert joined.done.train_images + joined.done.test_images == 42


def test_a_class_that_is_only_tested_is_refused(tmp_path: Path) -> None:
    files = {"train.csv": table(digits(30, classes=2)), "test.csv": table(digits(30))}
    words = refusal(tmp_path, files)
    assert "Every class needs images to train on, not only to test with. Received: 2." in words


def test_parts_of_different_shapes_are_refused(tmp_path: Path) -> None:
    files = {"train.csv": table(digits(30)), "test.csv": table(digits(30, side=9))}
    words = refusal(tmp_path, files)
    assert "All images must have the same shape" in words
    assert "8 x 8" in words
    assert "9 x 9" in words
