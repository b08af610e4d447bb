"""Which reader a file gets, and the files that none may touch."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from tests.sent_files import (
    archive,
    digits,
    idx,
    npz,
    picture,
    pixel_names,
    read_files,
    refusal,
    table,
)
from worker.importing.context import MOST_NOTES

DATA = digits(30)


def test_tables_in_a_zip_are_read_as_kaggle_sends_them(tmp_path: Path) -> None:
    members = [
        ("train.csv", table(DATA, header=pixel_names(DATA))),
        ("sample_submission.csv", b"ImageId,Label\n1,0\n"),
    ]
    reading = read_files(tmp_path, {"digit-recognizer.zip": archive(members)})
    assert reading.done.train_images == 24


def test_files_of_several_formats_are_refused(tmp_path: Path) -> None:
    files = {"a.csv": table(DATA), "b.npz": npz(x=DATA["x"], y=DATA["y"])}
    words = refusal(tmp_path, files)
    assert words.startswith("a.csv: All files must be of one format; ")
    assert words.endswith("Received: a.csv: csv, b.npz: npz.")


def test_the_format_that_is_chosen_is_read_from_among_others(tmp_path: Path) -> None:
    members = [("a.csv", table(DATA)), ("icon.png", picture(DATA["x"][0]))]
    reading = read_files(tmp_path, {"set.zip": archive(members)}, format="csv")
    assert reading.done.train_images + reading.done.test_images == len(DATA["x"])


def test_of_files_of_several_formats_the_chosen_one_is_read(tmp_path: Path) -> None:
    plain = read_files(tmp_path, {"a.csv": table(DATA)}).done.version
    image = picture(DATA["x"][0])
    files = {"a.csv": table(DATA), "logo.png": image, "old.npz": npz(x=DATA["x"], y=DATA["y"])}
    reading = read_files(tmp_path, files, format="csv")
    assert reading.done.version == plain
    assert reading.done.notes[:2] == [
        "logo.png is left out: it is a picture, not csv.",
        "old.npz is left out: it is npz, not csv.",
    ]
    assert read_files(tmp_path, files, format="npz").done.version == plain
    words = refusal(tmp_path, files, format="idx")
    assert "There must be a file of the format that was chosen (`format`), idx. Received:" in words
    assert "Pictures must come in a zip" in refusal(tmp_path, files)
    empty = files | {"b.csv": b""}
    assert "b.csv: A file must not be empty" in refusal(tmp_path, empty, format="csv")


def test_of_an_archive_of_several_formats_the_chosen_one_is_read(tmp_path: Path) -> None:
    members = [
        ("data/all.csv", table(DATA)),
        ("data/images-ubyte", idx(DATA["x"][::-1, ..., 0])),
        ("data/labels-ubyte", idx(DATA["y"])),
    ]
    plain = read_files(tmp_path, {"a.csv": table(DATA)}).done.version
    reading = read_files(tmp_path, {"a.zip": archive(members)}, format="csv")
    assert reading.done.version == plain
    assert "a.zip: data/images-ubyte is left out: it is idx, not csv." in reading.done.notes
    other = read_files(tmp_path, {"a.zip": archive(members)}, format="idx")
    assert other.done.version != plain
    assert "`member_words`" in refusal(tmp_path, {"a.zip": archive(members)})
    drawn = archive([*members, ("data/cat/logo.png", picture(DATA["x"][0]))])
    reading = read_files(tmp_path, {"a.zip": drawn}, format="csv")
    assert reading.done.version == plain
    assert "a.zip: 1 pictures or arrays in it are left out." in reading.done.notes


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    as_csv = read_files(tmp_path, {"data": table(DATA)}).done.version
    as_npz = read_files(tmp_path, {"data.csv": npz(x=DATA["x"], y=DATA["y"])}).done.version
    assert as_csv == as_npz


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps({"weights": [1, 2]}), "Pickles can run programs. Received: a pickle."),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "Received: HDF5."),
        (b"PAR1" + bytes(100), "Received: Parquet."),
        (
            archive([("data.pkl", b"\x80"), ("model.pt", b"x")]),
            "Models and pickles are not read",
        ),
        (
            archive([("config.json", b"{}"), ("model.weights.h5", b"x")]),
            "Models and pickles are not read",
        ),
        (picture(DATA["x"][0]), "Pictures must come in a zip"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(100), "Received: bytes 7f 45 4c 46"),
        (b"", "A file must not be empty"),
    ],
)
def test_models_pickles_and_programs_are_refused_by_name(
    content: bytes, words: str, tmp_path: Path
) -> None:
    assert words in refusal(tmp_path, {"model.npz": content})


@pytest.mark.parametrize(
    "members",
    [
        [
            (f"{'ab'[place % 2]}/{place}.png", picture(image))
            for place, image in enumerate(DATA["x"])
        ],
        [("a.csv", table(DATA))],
    ],
    ids=["pictures", "table"],
)
def test_a_pickle_among_other_files_is_left_out(
    members: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    plain = read_files(tmp_path, {"a.zip": archive(members)}).done.version
    evil = [*members, ("Meta.pkl", pickle.dumps(DATA)), ("model.h5", b"x")]
    reading = read_files(tmp_path, {"a.zip": archive(evil)})
    assert reading.done.version == plain
    note = "a.zip: meta.pkl and 1 more are left out: models and pickles are never read."
    assert note in reading.done.notes


def test_names_from_elsewhere_are_shown_without_control_characters(tmp_path: Path) -> None:
    words = refusal(tmp_path, {"bad\x1b[31m\n.csv": b"1,2\n"})
    assert words.startswith("bad\ufffd[31m\ufffd.csv: ")


def test_of_many_files_that_are_left_out_the_first_are_named(tmp_path: Path) -> None:
    files = {f"{number}.png": picture(DATA["x"][0]) for number in range(MOST_NOTES + 1_200)}
    notes = read_files(tmp_path, {"a.csv": table(DATA)} | files, format="csv").done.notes
    assert notes[0] == "0.png is left out: it is a picture, not csv."
    assert len(notes) == MOST_NOTES + 1
    assert re.fullmatch(r"And 1,20\d more\.", notes[-1])
