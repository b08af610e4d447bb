"""Data sets: what there is, what it looks like, and a single image of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal, cast

from flask import Response, request

from shared import catalogue
from shared.datasets.known import KNOWN
from shared.errors import InvalidInput, NotFound
from shared.models import DatasetVersion
from shared.png import encode, montage
from shared.records import dataset_row
from shared.spec.job import validate
from web import versions
from web.api import dataset_schemas, schemas
from web.api.blueprint import Operation, Parameter, bp, documented
from web.yard import current_yard

# What one answer with pictures may hold of bare pixels, and how many of them.
_ANSWER_BYTES = 3 << 20
_MOST_SAMPLES = 200
_YEAR_SECONDS = 31_536_000
_STRIP_IMAGES = 12
_STRIP_SIDE = 48
_NUMBER = {"type": "integer", "minimum": 0}
_VERSION = Parameter(
    "version", "Content hash, or its beginning; the newest unless given.", {"type": "string"}
)

Part = Literal["train", "test"]


@bp.get("/datasets")
@documented(Operation("List data sets", schemas.Listing[dataset_schemas.DatasetRow]))
def datasets() -> Any:
    """Return every data set with its newest version."""
    with current_yard().database.read() as session:
        items = [dataset_row(*row) for row in catalogue.newest(session)]
    return {"items": items, "next_cursor": None}


@bp.get("/known-datasets")
@documented(Operation("List the public data sets", schemas.Listing[dataset_schemas.KnownRow]))
def known_datasets() -> Any:
    """Return the public data sets that can be imported by name."""
    items = [
        {
            "name": known.name,
            "title": known.title,
            "description": known.description,
            "attribution": known.attribution,
            "megabytes": known.megabytes,
            "files": [file.url for file in known.files],
        }
        for known in KNOWN.values()
    ]
    return {"items": items, "next_cursor": None}


@bp.get("/datasets/<name>")
@documented(
    Operation(
        "Look at a data set", dataset_schemas.DatasetDetail, parameters=(_VERSION,), errors=(404,)
    )
)
def dataset(name: str) -> Any:
    """Return one data set with what was found in a version of it."""
    with current_yard().database.read() as session:
        found, version = catalogue.find(session, name, request.args.get("version"))
        known = [each.version for each in catalogue.versions(session, found)]
    return dataset_row(found, version) | {"versions": known, "report": version.report}


@bp.delete("/datasets/<name>")
@documented(Operation("Delete a data set", None, status=204, errors=(404, 409)))
def delete_dataset(name: str) -> Any:
    """Delete a data set and its versions; jobs that are over keep their results."""
    yard = current_yard()
    with yard.database.write() as session:
        unused = catalogue.delete(session, name)
    for uri in unused:
        yard.artifacts.delete(uri)
    return Response(status=HTTPStatus.NO_CONTENT)


@bp.get("/datasets/<name>/samples")
@documented(
    Operation(
        "Draw images at random",
        schemas.Listing[dataset_schemas.Sample],
        parameters=(
            Parameter("part", "train or test.", {"type": "string", "enum": ["train", "test"]}),
            Parameter("label", "Only images of this class, by number.", _NUMBER),
            Parameter("count", "How many; fewer if they are large.", _NUMBER),
            Parameter("seed", "Another number, another draw.", _NUMBER),
            _VERSION,
        ),
        errors=(404, 422),
    )
)
def samples(name: str) -> Any:
    """Return random images as `data:` URLs, with their labels."""
    wanted = validate(dataset_schemas.SampleQuery, request.args.to_dict())
    version = _find(name, wanted.version)
    if wanted.label is not None and wanted.label >= len(version.classes):
        rule = f"Must be a label: 0 to {len(version.classes) - 1}."
        raise InvalidInput.of("label", rule, wanted.label)
    files = versions.files_of(current_yard(), version)
    count = min(wanted.count, _MOST_SAMPLES, max(1, _ANSWER_BYTES // version.image_bytes))
    rows = files.draw(wanted.part, count, wanted.seed, wanted.label)
    labels = files.labels(wanted.part, rows)
    images = versions.pictures(version, files.pixels(wanted.part, rows))
    items = [
        {"row": row, "label": label, "class_name": version.classes[label], "image": image}
        for row, label, image in zip(rows, labels, images, strict=True)
    ]
    return {"items": items, "next_cursor": None}


@bp.get("/datasets/<name>/means")
@documented(
    Operation(
        "Mean training image of each class",
        schemas.Listing[dataset_schemas.MeanImage],
        parameters=(_VERSION,),
        errors=(404,),
    )
)
def means(name: str) -> Any:
    """Return mean images as `data:` URLs, in the order of the classes; fewer if they are large."""
    version = _find(name, request.args.get("version"))
    count = min(len(version.classes), max(1, _ANSWER_BYTES // version.image_bytes))
    images = versions.files_of(current_yard(), version).mean_images(range(count))
    items = [
        {"label": label, "class_name": version.classes[label], "image": image}
        for label, image in enumerate(versions.pictures(version, images))
    ]
    return {"items": items, "next_cursor": None}


@bp.get("/datasets/<name>/<any(train, test):part>/<int:row>.png")
@documented(Operation("One image, as PNG", "image/png", parameters=(_VERSION,), errors=(404,)))
def image(name: str, part: str, row: int) -> Any:
    """Return one image; rows count from 0."""
    version = _find(name, request.args.get("version"))
    files = versions.files_of(current_yard(), version)
    if row >= files.images[part]:
        raise NotFound(f"There is no row {row}: {part} has {files.images[part]:,} images.")
    (pixels,) = files.pixels(cast(Part, part), [row])
    png = encode(pixels, version.height, version.width, version.channels)
    return _unchanging(Response(png, mimetype="image/png"), version)


@bp.get("/datasets/<name>/means/<int:label>.png")
@documented(
    Operation("Mean training image of a class", "image/png", parameters=(_VERSION,), errors=(404,))
)
def mean(name: str, label: int) -> Any:
    """Return the mean of the training images of one class, a label."""
    version = _find(name, request.args.get("version"))
    if label >= len(version.classes):
        raise NotFound(f"There is no label {label}: there are {len(version.classes):,} classes.")
    (pixels,) = versions.files_of(current_yard(), version).mean_images([label])
    png = encode(pixels, version.height, version.width, version.channels)
    return _unchanging(Response(png, mimetype="image/png"), version)


@bp.get("/datasets/<name>/strip.png")
@documented(
    Operation(
        "Some training images side by side", "image/png", parameters=(_VERSION,), errors=(404,)
    )
)
def strip(name: str) -> Any:
    """Return a few training images as one picture; for lists."""
    version = _find(name, request.args.get("version"))
    yard = current_yard()

    def make() -> bytes:
        files = versions.files_of(yard, version)
        rows = files.draw("train", _STRIP_IMAGES, seed=1)
        shape = version.height, version.width, version.channels
        return montage(files.pixels("train", rows), *shape, most_side=_STRIP_SIDE)

    png = versions.kept(("strip", name, version.version), make)
    return _unchanging(Response(png, mimetype="image/png"), version)


def _unchanging(answer: Response, version: DatasetVersion) -> Response:
    """Let a browser keep what was asked of one version, which never changes."""
    if request.args.get("version") == version.version:
        answer.headers["Cache-Control"] = f"private, max-age={_YEAR_SECONDS}, immutable"
    return answer


def _find(name: str, version: str | None) -> DatasetVersion:
    with current_yard().database.read() as session:
        return catalogue.find(session, name, version)[1]
