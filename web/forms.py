"""The form of a new job: what it starts from, and in which sections its fields stand.

Must not validate: `POST /api/v1/jobs` does, and the page shows its errors beside their fields.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from shared import catalogue, imports, jobs
from shared.datasets.known import KNOWN, KnownSet
from shared.errors import NotFound
from shared.spec.dataset_import import RESERVED_NAMES
from shared.spec.presets import PRESETS
from web.fields import Field, about_fields, import_fields, spec_fields

# Which part of the form a part of the spec stands in. What is not named here, such as a field
# added later, stands in the last section.
SECTIONS = {
    "Data": (
        "dataset",
        "train_fraction",
        "evaluate_on",
        "validation_fraction",
        "preprocessing",
    ),
    "Model": ("model",),
    "Training": (
        "epochs",
        "batch_size",
        "learning_rate",
        "seed",
        "schedule",
        "optimizer",
        "early_stopping",
        "precision",
    ),
    "Where it runs": ("resources",),
}
_MAX_DIGITS = 18


@dataclass(frozen=True)
class Section:
    """A titled group of fields; `advanced` ones are folded away at first."""

    title: str
    fields: tuple[Field, ...]

    @property
    def basic(self) -> list[Field]:
        """The fields that are always shown."""
        return [field for field in self.fields if not field.advanced]

    @property
    def folded(self) -> list[Field]:
        """The fields that are folded away at first."""
        return [field for field in self.fields if field.advanced]


@dataclass(frozen=True)
class NewJob:
    """What the form starts from.

    Attributes:
        parent: id and name of the job that is cloned, if one is.
        preset: the chosen preset, if any.
        spec: the complete spec that the fields are filled with.
        about: name, tags and priority.
    """

    parent: dict[str, Any] | None
    preset: str | None
    spec: dict[str, Any]
    about: dict[str, Any]

    @classmethod
    def load(
        cls,
        session: Session,
        clone: str | None,
        preset: str | None,
        *,
        dataset: str | None = None,
    ) -> NewJob:
        """Start from another job, or from a preset.

        Args:
            session: for reading.
            clone: number of the job to clone, as the URL has it.
            preset: name of the preset; the first one unless given.
            dataset: name of the data set; the preset's unless given.

        Raises:
            NotFound: there is no such job, preset or data set.
        """
        if clone is None:
            name = preset or next(iter(PRESETS))
            if name not in PRESETS:
                raise NotFound(f"There is no preset {name!r}; there are: {', '.join(PRESETS)}.")
            spec = PRESETS[name].spec.model_dump(mode="json")
            if dataset is not None:
                catalogue.find(session, dataset)
                spec["dataset"]["name"] = dataset
            return cls(None, name, spec, {})
        if not clone.isdecimal() or len(clone) > _MAX_DIGITS:
            raise NotFound(f"There is no job {clone!r} to clone.")
        job = jobs.get(session, int(clone))
        about = {"name": job.name, "tags": job.tags, "priority": job.priority}
        return cls({"id": job.id, "name": job.name}, job.preset, job.spec, about)

    @property
    def sections(self) -> list[Section]:
        """The form's sections, filled in."""
        return spec_sections(self.spec)

    @property
    def about_fields(self) -> list[Field]:
        """The fields about the job itself, filled in."""
        return about_fields(self.about)

    @property
    def data(self) -> str:
        """What `form.js` starts from, as JSON."""
        # A preset says how to train, not on what: whose data set is chosen keeps it.
        presets = {
            name: preset.spec.model_dump(mode="json", exclude={"dataset"})
            for name, preset in PRESETS.items()
        }
        return as_data({"presets": presets, "parent_id": self.parent and self.parent["id"]})


@dataclass(frozen=True)
class NewImport:
    """What the form of an import starts from.

    Attributes:
        name: of the data set that gets a new version, if it is one that there is.
        known: the public data set that is chosen, if any.
        fields: the form's fields, filled in.
        names: of all data sets, and whether each stays as it is.
    """

    name: str | None
    known: str | None
    fields: list[Field]
    names: dict[str, bool]

    @classmethod
    def load(cls, session: Session, name: str | None, known: str | None) -> NewImport:
        """Start from nothing, from a data set that there is, or from a public one.

        Raises:
            NotFound: there is no such data set.
        """
        values: dict[str, Any] = {}
        if name is not None:
            dataset, _ = catalogue.find(session, name)
            values = {part: getattr(dataset, part) for part in ("name", "title", "description")}
            known = known or imports.known_of(session, name)
        if known is not None and known not in KNOWN:
            raise NotFound(f"There is no public data set {known!r}.")
        return cls(name, known, import_fields(values), catalogue.names(session))

    @property
    def choices(self) -> list[KnownSet]:
        """The public data sets to choose from: for a new version, what it was read as before."""
        if self.name is None:
            return list(KNOWN.values())
        return [KNOWN[self.known]] if self.known else []

    @property
    def data(self) -> str:
        """What `import.js` knows of the yard, as JSON."""
        return as_data(
            {
                "datasets": list(self.names),
                "bundled": [name for name, stays in self.names.items() if stays],
                "reserved": RESERVED_NAMES,
                "most_files": imports.MOST_FILES,
            }
        )

    @property
    def about(self) -> list[Field]:
        """The fields about the data set itself."""
        return [field for field in self.fields if field.path in ("title", "description")]

    @property
    def name_field(self) -> Field:
        """The field of the name."""
        return next(field for field in self.fields if field.path == "name")

    @property
    def options(self) -> Section:
        """How the files are read."""
        fields = (field for field in self.fields if field.path.startswith("options."))
        return Section("How to read the files", tuple(fields))


def spec_sections(spec: dict[str, Any]) -> list[Section]:
    """Return the form's sections, filled with `spec`.

    Args:
        spec: a complete spec, as `JobSpec.model_dump(mode="json")` gives it.
    """
    by_part: dict[str, list[Field]] = {}
    for field in spec_fields(spec):
        by_part.setdefault(field.path.split(".")[1], []).append(field)
    sections = []
    for title, parts in SECTIONS.items():
        found = [field for part in parts for field in by_part.pop(part, [])]
        sections.append(Section(title, tuple(found)))
    rest = tuple(field for fields in by_part.values() for field in fields)
    sections[-1] = replace(sections[-1], fields=sections[-1].fields + rest)
    return sections


def as_data(value: Any) -> str:
    """Return a value as JSON that is safe inside a `<script type="application/json">`."""
    return json.dumps(value).replace("<", "\\u003c")
