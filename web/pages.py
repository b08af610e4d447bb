"""The pages: each is rendered whole on the server; JavaScript only keeps it fresh.

Owns which page shows what. Must not change anything: every change goes through `/api/v1`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Blueprint, render_template, request
from flask.blueprints import BlueprintSetupState
from sqlalchemy.orm import Session

from shared import catalogue, imports, waiting
from shared.datasets import BUNDLED_SCHEME
from shared.models import Job
from shared.records import dataset_row, import_row
from shared.spec.presets import MEASURED_ON, PRESETS
from shared.waiting import Wait
from web import look
from web.dossier import Dossier
from web.forms import NewImport, NewJob
from web.listing import JobsView
from web.look import Look
from web.overview import Overview
from web.present import FILTERS
from web.yard import current_yard

bp = Blueprint("pages", __name__)


@bp.record_once
def _set_up_templates(state: BlueprintSetupState) -> None:
    state.app.jinja_env.trim_blocks = state.app.jinja_env.lstrip_blocks = True
    state.app.jinja_env.filters |= {function.__name__: function for function in FILTERS}


# Numbers that SQL can hold; others belong to no job.
_JOB_ID = "int(max=9223372036854775807)"


@bp.get("/")
def jobs() -> str:
    """Show the list of jobs."""
    with _reading() as (session, overview):
        counts = current_yard().counts.read(session)
        arguments = request.args.items(multi=True)
        view = JobsView.load(session, arguments, counts, _explain(session, overview))
        return render_template("jobs.html", view=view, overview=overview)


@bp.get("/jobs/new")
def new_job() -> str:
    """Show the form of a new job, from a preset or from another job."""
    with _reading() as (session, overview):
        form = NewJob.load(
            session,
            request.args.get("clone"),
            request.args.get("preset"),
            dataset=request.args.get("dataset"),
        )
        return render_template(
            "new_job.html",
            form=form,
            presets=PRESETS,
            measured_on=MEASURED_ON,
            datasets=_datasets(session),
            overview=overview,
        )


@bp.get(f"/jobs/<{_JOB_ID}:job_id>")
def job(job_id: int) -> str:
    """Show one job."""
    with _reading() as (session, overview):
        dossier = Dossier.load(session, job_id, _explain(session, overview))
        return render_template("job.html", dossier=dossier, job=dossier.job, overview=overview)


@bp.get("/workers")
def workers() -> str:
    """Show the workers, and what each of them runs."""
    with _reading() as (session, overview):
        running = [slot["job_id"] for slot in overview.slots if slot["job_id"] is not None]
        found = session.execute(sa.select(Job.id, Job.name).where(Job.id.in_(running)))
        names = {row.id: row.name for row in found}
        return render_template("workers.html", names=names, overview=overview)


@bp.get("/datasets")
def datasets() -> str:
    """Show the data sets."""
    with _reading() as (session, overview):
        waits = waiting.explain_imports(session, lease_seconds=_lease_seconds())
        return render_template(
            "datasets.html",
            datasets=[look.card(*row) for row in catalogue.newest(session)],
            imports=[import_row(row, waits.get(row.id)) for row in imports.unfinished(session)],
            failed=[import_row(row) for row in imports.failed_lately(session)],
            overview=overview,
        )


@bp.get("/datasets/new")
def new_dataset() -> str:
    """Show the form of an import; for a data set that there is, of a new version."""
    with _reading() as (session, overview):
        form = NewImport.load(session, request.args.get("name"), request.args.get("known"))
        return render_template(
            "new_dataset.html",
            form=form,
            obstacle=waiting.import_obstacle(session, lease_seconds=_lease_seconds()),
            overview=overview,
        )


@bp.get("/datasets/<name>")
def dataset(name: str) -> str:
    """Show what is in a data set."""
    with _reading() as (session, overview):
        found, version = catalogue.find(session, name, request.args.get("version"))
        known = catalogue.versions(session, found)
    shown = Look.of(current_yard(), found, version, known)
    bundled = version.uri.startswith(BUNDLED_SCHEME)
    return render_template("dataset.html", look=shown, bundled=bundled, overview=overview)


@contextmanager
def _reading() -> Iterator[tuple[Session, Overview]]:
    yard = current_yard()
    with yard.database.read() as session:
        yield session, Overview.load(session, yard)


def _explain(session: Session, overview: Overview) -> Callable[..., dict[int, Wait]]:
    """Return what explains the waiting jobs, for the pages that show one."""
    return functools.partial(
        waiting.explain,
        session,
        lease_seconds=_lease_seconds(),
        queue_away=overview.queue_away,
    )


def _lease_seconds() -> float:
    return current_yard().settings.lease_seconds


def _datasets(session: Session) -> list[dict[str, Any]]:
    return [dataset_row(dataset, version) for dataset, version in catalogue.newest(session)]
