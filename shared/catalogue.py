"""The catalogue of data sets: which there are, and which version a job means."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import Session

from shared.database import utc_now
from shared.errors import InvalidInput
from shared.models import Dataset, DatasetVersion
from shared.spec.job import DatasetRef


def register_bundled(session: Session) -> None:
    """Enter the data sets that come with Trainyard, where they are missing.

    Args:
        session: a writing session.
    """
    from shared.datasets import BUNDLED  # brings NumPy, which the web does without

    for name, bundled in BUNDLED.items():
        dataset = session.scalar(sa.select(Dataset).where(Dataset.name == name))
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
        known = session.scalar(
            sa.select(DatasetVersion.id).where(
                DatasetVersion.dataset_id == dataset.id, DatasetVersion.version == bundled.version
            )
        )
        if known is None:
            session.add(
                DatasetVersion(
                    dataset_id=dataset.id,
                    version=bundled.version,
                    uri=f"bundled:{name}",
                    train_images=bundled.train_images,
                    test_images=bundled.test_images,
                    height=bundled.height,
                    width=bundled.width,
                    channels=bundled.channels,
                    classes=list(bundled.classes),
                    created_at=utc_now(),
                )
            )


def newest(session: Session) -> list[tuple[Dataset, DatasetVersion]]:
    """Return every data set with its newest version, by name."""
    newest_id = (
        sa.select(sa.func.max(DatasetVersion.id))
        .where(DatasetVersion.dataset_id == Dataset.id)
        .correlate(Dataset)
        .scalar_subquery()
    )
    rows = session.execute(
        sa.select(Dataset, DatasetVersion)
        .join(DatasetVersion, DatasetVersion.id == newest_id)
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
    versions = (
        sa.select(DatasetVersion)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(Dataset.name == ref.name)
        .order_by(DatasetVersion.id.desc())
        .limit(1)
    )
    if ref.version is not None:
        versions = versions.where(DatasetVersion.version.startswith(ref.version))
    version = session.scalar(versions)
    if version is None:
        rule = f"Must be a version of data set {ref.name!r}."
        raise InvalidInput.of("spec.dataset.version", rule, ref.version)
    return version
