"""The shapes of answers about data sets and imports; see `web.api.schemas`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from shared.datasets.report import Report
from shared.models import TicketStatus
from shared.reading import Fault
from shared.spec.dataset_import import DatasetImport
from shared.spec.fields import SpecModel
from web.api.schemas import Answer


class DatasetRow(Answer):
    """A data set with its newest version."""

    name: str
    title: str
    description: str
    attribution: str
    version: str
    train_images: int
    test_images: int
    height: int
    width: int
    channels: int
    classes: list[str]
    created_at: AwareDatetime


class DatasetDetail(DatasetRow):
    """A data set with the content hashes of all its versions, newest first."""

    versions: list[str]
    report: Report | None = Field(description="What was found in this version.")


class KnownRow(Answer):
    """A public data set that can be imported by name."""

    name: str
    title: str
    description: str
    attribution: str
    megabytes: int = Field(description="What is fetched, about.")
    files: list[str] = Field(description="Where from.")


class SampleQuery(SpecModel):
    """The query of `GET /datasets/{name}/samples`."""

    model_config = ConfigDict(strict=False)  # a URL holds texts only

    part: Literal["train", "test"] = "train"
    label: int | None = Field(None, ge=0)
    count: int = Field(48, ge=1)
    seed: int = Field(0, ge=0, le=2**53)
    version: str | None = None


class Sample(Answer):
    """An image of a data set."""

    row: int = Field(description="Counts from 0.")
    label: int
    class_name: str
    image: str = Field(description="A `data:` URL.")


class MeanImage(Answer):
    """The mean training image of a class."""

    label: int
    class_name: str
    image: str = Field(description="A `data:` URL.")


class SentFile(Answer):
    """A file of an import."""

    name: str
    part: Literal["train", "test"] | None
    bytes: int
    sha256: str


class ImportReport(Answer):
    """What became of an import."""

    version: str
    known: bool = Field(description="Whether the data set had this content before.")
    others: list[str] = Field(description="Other data sets of the same content.")
    notes: list[str] = Field(description="What was decided that the files did not say.")


class ImportFailure(Answer):
    """Why an import failed."""

    kind: str
    evidence: str
    suggestion: str
    faults: list[Fault]


class Import(Answer):
    """Files on their way to becoming a version of a data set."""

    id: int
    status: TicketStatus
    name: str
    request: DatasetImport
    files: list[SentFile]
    actor: str | None = Field(description="Who asked for it: by what, and from where.")
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None
    worker: str | None
    waiting: str | None = Field(description="Why no worker has taken it yet.")
    progress: dict[str, Any] | None = Field(description="doing (words) and share (0 to 1).")
    report: ImportReport | None
    failure: ImportFailure | None
