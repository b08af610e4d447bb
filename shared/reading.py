"""The messages between an importer and the reader of files: a part of `shared.protocol`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from shared.datasets.report import Report
from shared.limits import Limits
from shared.message import Message
from shared.spec.dataset_import import ImportOptions


class SentFile(Message):
    """A file that a person sent.

    Attributes:
        path: where it lies.
        name: what it was called.
        part: which part it holds, if that was said.
    """

    path: Path
    name: str
    part: Literal["train", "test"] | None = None


class Read(Message):
    """Turn files into a version of a data set.

    Attributes:
        files: what was sent.
        options: how to read them.
        limits: what reading them may take.
        out_dir: existing empty folder where the version is written.
    """

    command: Literal["read"] = "read"
    files: list[SentFile]
    options: ImportOptions
    limits: Limits
    out_dir: Path


class Reading(Message):
    """An import goes on.

    Attributes:
        doing: what is done now, in a few words.
        share: part of the work that is done, 0 to 1.
    """

    event: Literal["reading"] = "reading"
    doing: str
    share: float


class ReadDone(Message):
    """The version lies in the folder, complete.

    Attributes:
        version, train_images, test_images, height, width, channels, classes: as in
            `shared.datasets.layout.Description`.
        report: what a survey of it found.
        notes: what was decided that the files did not say, as sentences.
    """

    event: Literal["read_done"] = "read_done"
    version: str
    train_images: int
    test_images: int
    height: int
    width: int
    channels: int
    classes: list[str]
    report: Report
    notes: list[str]


class Fault(Message):
    """One thing that is wrong with a file.

    Attributes:
        file: its name.
        row: row of a table from 1, the header not counted; or an index in an array.
        column: its name, or its number from 1.
        value: what stands there.
        rule: what is allowed, as a sentence.
    """

    file: str
    row: int | None = None
    column: str | None = None
    value: str | None = None
    rule: str

    def __str__(self) -> str:
        places = [self.file]
        if self.row is not None:
            places.append(f"row {self.row:,}")
        if self.column is not None:
            places.append(f"column {self.column}")
        received = "" if self.value is None else f" Received: {self.value}."
        return f"{', '.join(places)}: {self.rule}{received}"


class Refused(Message):
    """The files cannot become a data set; nothing was kept."""

    event: Literal["refused"] = "refused"
    faults: list[Fault]
