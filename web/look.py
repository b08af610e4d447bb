"""The page of a data set: what was found in a version, laid out to be looked at.

Owns what the page shows and how much of it. Reads single images from the version's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from shared.datasets.report import ClassCount, Finding, Report, Twins
from shared.datasets.rows import VersionFiles
from shared.errors import StoreUnavailable
from shared.models import Dataset, DatasetVersion
from shared.records import dataset_row
from web import versions
from web.yard import Yard

SAMPLES = 48
PARTS = ("train", "test")
# Larger images are fetched one by one when they come into view, and kept by the browser.
_INLINE_BYTES = 4096
_SMALL_SIDE = 64
_SHOWN_TWINS = 12
_SHOWN_EMPTY = 12
_SHOWN_MEANS = 60
_HISTOGRAM_WIDTH, _HISTOGRAM_HEIGHT = 320, 84


@dataclass(frozen=True)
class Picture:
    """An image as a page shows it.

    Attributes:
        source: what goes into `src`.
        caption: the class's name.
        row: counts from 0; None for a mean.
        part: `train` or `test`.
    """

    source: str
    caption: str
    row: int | None = None
    part: str = "train"


@dataclass(frozen=True)
class Pair:
    """Two equal images, and what is wrong with that."""

    first: Picture
    second: Picture
    words: str


@dataclass(frozen=True)
class Bar:
    """A class's images: shares of the largest class's, in per cent."""

    label: int
    row: ClassCount
    train: float
    test: float


@dataclass(frozen=True)
class Gallery:
    """The pictures of the page, which come from the artifact store."""

    samples: Sequence[Picture] = ()
    means: Sequence[Picture] = ()
    pairs: Sequence[Pair] = ()
    empty: Sequence[Picture] = ()


@dataclass(frozen=True)
class Look:
    """What the page shows; `store_away` says why there are no pictures."""

    dataset: dict[str, Any]
    version: DatasetVersion
    versions: list[DatasetVersion]
    report: Report
    bars: list[Bar]
    gallery: Gallery
    store_away: str | None

    @classmethod
    def of(
        cls, yard: Yard, dataset: Dataset, version: DatasetVersion, known: list[DatasetVersion]
    ) -> Look:
        """Look at a version; waits for the artifact store, so no SQL session may be open.

        Args:
            yard: for the files.
            dataset: whose version it is.
            version: the version.
            known: all versions of the data set, newest first.
        """
        album = Album(yard, dataset, version)
        report = album.report
        gallery, store_away = Gallery(), None
        try:
            gallery = album.gallery()
        except StoreUnavailable as error:  # the rest is in SQL, and can be read all the same
            store_away = str(error)
        return cls(
            dataset=dataset_row(dataset, version),
            version=version,
            versions=known,
            report=report,
            bars=_bars(report.classes),
            gallery=gallery,
            store_away=store_away,
        )

    @property
    def verdict(self) -> Finding:
        """The finding about the balance of the classes."""
        return next(one for one in self.report.findings if one.sentence.startswith("The classes"))

    @property
    def histogram(self) -> str:
        """The brightness of the training pixels, as an SVG path; heights by square root."""
        counts = self.report.train.histogram
        most = max(counts) ** 0.5
        width = _HISTOGRAM_WIDTH / len(counts)
        steps = [f"M0 {_HISTOGRAM_HEIGHT}"]
        for place, count in enumerate(counts):
            top = round(_HISTOGRAM_HEIGHT * (1 - count**0.5 / most), 1)
            steps.append(f"L{place * width:g} {top} L{(place + 1) * width:g} {top}")
        return " ".join([*steps, f"L{_HISTOGRAM_WIDTH} {_HISTOGRAM_HEIGHT} Z"])

    @property
    def large(self) -> bool:
        """Whether images have more pixels than a small picture shows."""
        return max(self.version.height, self.version.width) > _SMALL_SIDE

    @property
    def labels_are_numbers(self) -> bool:
        """Whether the classes are called by whole numbers."""
        return all(row.name.lstrip("-").isdecimal() for row in self.report.classes)


class Album:
    """Pictures of one version.

    Args:
        yard: for the files.
        dataset: whose version it is.
        version: the version.
    """

    def __init__(self, yard: Yard, dataset: Dataset, version: DatasetVersion) -> None:
        self._dataset = dataset
        self._version = version
        self._key = (dataset.name, version.version)
        self._files: VersionFiles = versions.files_of(yard, version)
        self.report = versions.report_of(version)

    def gallery(self) -> Gallery:
        """Return what the page begins with.

        Raises:
            StoreUnavailable: the artifact store does not answer.
        """
        pairs, empty = versions.kept(("odd", *self._key), self._odd)
        return Gallery(
            samples=self.draw("train", SAMPLES, seed=0),
            means=self.means(_SHOWN_MEANS),
            pairs=pairs,
            empty=empty,
        )

    def draw(self, part: str, count: int, *, seed: int) -> list[Picture]:
        """Return pictures of random images, the same ones for the same seed."""
        key = ("draw", *self._key, part, count, seed)
        return versions.kept(key, lambda: self.pictures(part, self._files.draw(part, count, seed)))

    def pictures(self, part: str, rows: Sequence[int]) -> list[Picture]:
        """Return pictures of some rows."""
        return self._pictures(part, rows, {})

    def _pictures(self, part: str, rows: Sequence[int], told: dict[int, int]) -> list[Picture]:
        """Return pictures of rows; labels that were told, by row, are not read."""
        asked = [row for row in rows if row not in told]
        labels = told | dict(zip(asked, self._files.labels(part, asked), strict=True))
        names = self._version.classes
        return [
            Picture(source, names[labels[row]], row, part)
            for source, row in zip(self._sources(part, rows), rows, strict=True)
        ]

    def means(self, most: int) -> list[Picture]:
        """Return the mean images of the first classes."""
        names = self._version.classes[:most]
        labels = range(len(names))
        if self._are_small:
            key = ("means", *self._key, most)
            sources = versions.kept(
                key, lambda: versions.pictures(self._version, self._files.mean_images(labels))
            )
        else:
            sources = [self._url("api.mean", label=label) for label in labels]
        return [Picture(source, name) for source, name in zip(sources, names, strict=True)]

    def _odd(self) -> tuple[list[Pair], list[Picture]]:
        """Return equal images side by side, and nearly empty ones; a part's are read at once."""
        twins = self.report.repeats.examples[:_SHOWN_TWINS]
        empty = [
            *(("train", row) for row in self.report.train.near_empty_rows),
            *(("test", row) for row in self.report.test.near_empty_rows),
        ][:_SHOWN_EMPTY]
        labels = {(one.part, one.row): one.label for one in twins}
        labels |= {(one.of_part, one.of_row): one.of_label for one in twins}
        pictures: dict[tuple[str, int], Picture] = {}
        for part in PARTS:
            told = {row: label for (of, row), label in labels.items() if of == part}
            rows = sorted({*told, *(row for of, row in empty if of == part)})
            shown = self._pictures(part, rows, told)
            pictures |= {(part, row): one for row, one in zip(rows, shown, strict=True)}
        pairs = [
            Pair(
                pictures[one.part, one.row],
                pictures[one.of_part, one.of_row],
                _what_is_wrong(one),
            )
            for one in twins
        ]
        return pairs, [pictures[place] for place in empty]

    def _sources(self, part: str, rows: Sequence[int]) -> list[str]:
        if self._are_small:
            return versions.pictures(self._version, self._files.pixels(part, rows))
        return [self._url("api.image", part=part, row=row) for row in rows]

    @property
    def _are_small(self) -> bool:
        return self._version.image_bytes <= _INLINE_BYTES

    def _url(self, endpoint: str, **place: Any) -> str:
        version = self._version.version
        return url_for(endpoint, name=self._dataset.name, version=version, **place)


def card(dataset: Dataset, version: DatasetVersion) -> dict[str, Any]:
    """Return what the list of data sets shows of one: its row, and its worst finding."""
    findings = versions.report_of(version).findings
    return dataset_row(dataset, version) | {
        "worst": next((one for one in findings if one.level != "ok"), None)
    }


def _what_is_wrong(twins: Twins) -> str:
    if twins.label != twins.of_label:
        return "Two labels"
    return "Twice" if twins.part == twins.of_part else "In train and test"


def _bars(classes: list[ClassCount]) -> list[Bar]:
    most = max(max(row.train, row.test) for row in classes)
    return [
        Bar(label, row, round(100 * row.train / most, 2), round(100 * row.test / most, 2))
        for label, row in enumerate(classes)
    ]
