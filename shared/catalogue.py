"""The catalogue of data sets: which there are, and which version a job means."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.datasets import BUNDLED_SCHEME
from shared.errors import Conflict, InvalidInput, NotFound
from shared.models import Dataset, DatasetVersion, Job, Status
from shared.reading import ReadDone
from shared.spec.dataset_import import DatasetImport
from shared.spec.job import DatasetRef

# A version that is added once more is the newest again.
_NEWEST_FIRST = (DatasetVersion.created_at.desc(), DatasetVersion.id.desc())


def register_bundled(session: Session) -> None:
    """Enter the data sets that come with Trainyard, where they are missing.

    Args:
        session: a writing session.
    """
    from shared.datasets.bundled import BUNDLED  # brings NumPy, which the web does without

    for name, bundled in BUNDLED.items():
        dataset = _dataset(session, name)
        if dataset is None:
            dataset = Dataset(
                name=name,
                title=bundled.title,
                description=bundled.description,
                attribution=bundled.attribution,
                created_at=utc_now(),
            )
            session.add(dataset)
            session.flush()
        version = _version(session, dataset, bundled.content.version)
        if version is None:
            uri = f"{BUNDLED_SCHEME}{name}"
            version = _enter(session, dataset, uri, bundled.content.as_dict())
        if version.report is None:
            version.report = bundled.report()


def require_changeable(session: Session, name: str) -> None:
    """Check that a data set is none of those that come with Trainyard.

    Raises:
        Conflict: it is.
    """
    bundled = session.scalar(
        sa.select(DatasetVersion.id)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(Dataset.name == name, DatasetVersion.uri.startswith(BUNDLED_SCHEME))
    )
    if bundled is not None:
        raise Conflict(f"Data set {name!r} comes with Trainyard and stays as it is.")


def add_version(
    session: Session, request: DatasetImport, read: ReadDone, uri: str
) -> tuple[bool, list[str]]:
    """Give a data set a version, and make the data set if there is none.

    What was asked for with this version (title, description, authors) holds from now on, unless
    it was left empty.

    Args:
        session: a writing session.
        request: what was asked.
        read: what the files came to.
        uri: where the version lies in the artifact store.

    Returns:
        Whether the data set had the version before, and the others that have it.
    """
    dataset = _dataset(session, request.name)
    if dataset is None:
        dataset = Dataset(name=request.name, title=request.name, created_at=utc_now())
        session.add(dataset)
    dataset.title = request.title or dataset.title
    dataset.description = request.description or dataset.description or ""
    dataset.attribution = request.attribution or dataset.attribution or ""
    session.flush()
    known = _version(session, dataset, read.version)
    others = session.scalars(
        sa.select(Dataset.name)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(DatasetVersion.version == read.version, Dataset.id != dataset.id)
        .order_by(Dataset.name)
    ).all()
    content = read.model_dump(mode="json", exclude={"event", "notes"})
    content["report"] |= {"notes": read.notes}
    if known is None:
        _enter(session, dataset, uri, content)
    else:
        known.created_at = utc_now()  # the newest again
        known.report = content["report"]
    return known is not None, list(others)


def delete(session: Session, name: str) -> list[str]:
    """Delete a data set with its versions; jobs that are over keep their results.

    Args:
        session: a writing session.
        name: of the data set.

    Returns:
        Where in the artifact store lie versions that no data set has any more: no import uses
        these places again.

    Raises:
        NotFound: there is no such data set.
        Conflict: it comes with Trainyard, or jobs still need it.
    """
    dataset = _dataset(session, name)
    if dataset is None:
        raise NotFound(f"There is no data set {name!r}.")
    require_changeable(session, name)
    needed = session.scalars(
        sa.select(Job.id)
        .where(Job.dataset == name, Job.status.not_in([s for s in Status if s.terminal]))
        .order_by(Job.id)
        .limit(1)
    ).first()
    if needed is not None:
        raise Conflict(f"Data set {name!r} is needed: job {needed} is not over.")
    own = sa.select(DatasetVersion.uri).where(DatasetVersion.dataset_id == dataset.id)
    uris = set(session.scalars(own))
    session.execute(sa.delete(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id))
    session.delete(dataset)
    session.flush()
    kept = session.scalars(sa.select(DatasetVersion.uri).where(DatasetVersion.uri.in_(uris)))
    return sorted(uris - set(kept))


def place_of(session: Session, version: str) -> str | None:
    """Return where in the artifact store a version lies that some data set has."""
    stored = sa.select(DatasetVersion.uri).where(
        DatasetVersion.version == version, ~DatasetVersion.uri.startswith(BUNDLED_SCHEME)
    )
    return session.scalar(stored.order_by(DatasetVersion.id).limit(1))


def keep(session: Session, uri: str) -> bool:
    """Whether a data set has what lies at `uri`; if so, that stays until the session ends.

    Args:
        session: a writing session.
        uri: a place in the artifact store.
    """
    named = sa.select(DatasetVersion.id).where(DatasetVersion.uri == uri)
    return session.scalars(named.with_for_update()).first() is not None


def find(session: Session, name: str, version: str | None = None) -> tuple[Dataset, DatasetVersion]:
    """Return a data set and one of its versions.

    Args:
        session: a session.
        name: of the data set.
        version: beginning of a content hash; the newest version unless given.

    Raises:
        NotFound: there is no such data set or version.
    """
    query = (
        sa.select(Dataset, DatasetVersion)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(Dataset.name == name)
        .order_by(*_NEWEST_FIRST)
        .limit(1)
    )
    if version is not None:
        query = query.where(DatasetVersion.version.startswith(version, autoescape=True))
    row = session.execute(query).first()
    if row is None:
        which = f" of version {version!r}" if version is not None else ""
        raise NotFound(f"There is no data set {name!r}{which}.")
    return row[0], row[1]


def versions(session: Session, dataset: Dataset) -> list[DatasetVersion]:
    """Return a data set's versions, newest first."""
    query = sa.select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id)
    return list(session.scalars(query.order_by(*_NEWEST_FIRST)))


def names(session: Session) -> dict[str, bool]:
    """Return the name of every data set, and whether it is one of those that stay as they are."""
    bundled = sa.func.max(sa.case((DatasetVersion.uri.startswith(BUNDLED_SCHEME), 1), else_=0))
    query = (
        sa.select(Dataset.name, bundled)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .group_by(Dataset.name)
        .order_by(Dataset.name)
    )
    return {name: bool(stays) for name, stays in session.execute(query)}


def newest(session: Session) -> list[tuple[Dataset, DatasetVersion]]:
    """Return every data set with its newest version, by name."""
    rank = sa.func.row_number().over(partition_by=DatasetVersion.dataset_id, order_by=_NEWEST_FIRST)
    ranked = sa.select(DatasetVersion.id, rank.label("rank")).subquery()
    rows = session.execute(
        sa.select(Dataset, DatasetVersion)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .join(ranked, ranked.c.id == DatasetVersion.id)
        .where(ranked.c.rank == 1)
        .order_by(Dataset.name)
    )
    return [(dataset, version) for dataset, version in rows]


def resolve(session: Session, ref: DatasetRef) -> DatasetVersion:
    """Return the version that a spec means: the one it names, or else the newest.

    Raises:
        InvalidInput: there is no such data set or version.
    """
    names = list(session.scalars(sa.select(Dataset.name).order_by(Dataset.name)))
    if ref.name not in names:
        allowed = ", ".join(names) or "none yet"
        raise InvalidInput.of(
            "spec.dataset.name", f"Must be a known data set: {allowed}.", ref.name
        )
    try:
        return find(session, ref.name, ref.version)[1]
    except NotFound as error:
        rule = f"Must be a version of data set {ref.name!r}."
        raise InvalidInput.of("spec.dataset.version", rule, ref.version) from error


def _dataset(session: Session, name: str) -> Dataset | None:
    return session.scalar(sa.select(Dataset).where(Dataset.name == name))


def _version(session: Session, dataset: Dataset, version: str) -> DatasetVersion | None:
    return session.scalar(
        sa.select(DatasetVersion).where(
            DatasetVersion.dataset_id == dataset.id, DatasetVersion.version == version
        )
    )


def _enter(session: Session, dataset: Dataset, uri: str, content: dict[str, Any]) -> DatasetVersion:
    version = DatasetVersion(dataset_id=dataset.id, uri=uri, created_at=utc_now(), **content)
    session.add(version)
    session.flush()
    return version
