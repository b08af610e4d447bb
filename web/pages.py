"""The pages: each is rendered whole on the server; JavaScript only keeps it fresh.

Owns what a page shows. Must not change anything: every change goes through `/api/v1`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from flask import Blueprint, render_template, request
from sqlalchemy.orm import Session

from shared import queries
from shared.spec.presets import PRESETS
from web import forms
from web.listing import JobsView
from web.yard import current_yard

bp = Blueprint("pages", __name__)

MAX_EPOCH_ROWS = 300
MAX_CURVE_POINTS = 1000


@bp.get("/")
def jobs() -> str:
    """Show the list of jobs."""
    with current_yard().database.read() as session:
        view = JobsView.load(session, request.args.items(multi=True))
        return render_template("jobs.html", view=view, yard_state=_yard_state(session))


@bp.get("/jobs/<int:job_id>")
def job(job_id: int) -> str:
    """Show one job."""
    with current_yard().database.read() as session:
        return render_template(
            "job.html", yard_state=_yard_state(session), **_job_context(session, job_id)
        )


def _job_context(session: Session, job_id: int) -> dict[str, Any]:
    found = queries.job(session, job_id)
    epochs = queries.epochs(session, job_id)
    return {
        "job": found,
        "data": forms.as_data(
            {
                "id": found["id"],
                "status": found["status"],
                "progress": found["progress"],
                "epochs_total": found["epochs_total"],
                "epochs": epochs,
            }
        ),
        "epochs": epochs,
        "attempts": queries.attempts(session, job_id),
        "events": queries.events(session, job_id),
        "artifacts": queries.artifacts(session, job_id),
        "spec": {
            k: list(v)
            for k, v in groupby(
                forms.spec_rows(
                    found["spec"],
                    None
                    if found["preset"] not in PRESETS
                    else PRESETS[found["preset"]].spec.model_dump(mode="json"),
                ),
                key=lambda r: r.section,
            )
        },
        "speed": epochs[-1]["images_per_second"] if epochs else None,
        "failure_title": "Failed: diverged",
    }


@bp.get("/jobs/new")
def new_job() -> str:
    clone = request.args.get("clone", type=int)
    preset = request.args.get("preset", "hello-world")
    with current_yard().database.read() as session:
        parent = queries.job(session, clone) if clone else None
        spec = parent["spec"] if parent else PRESETS[preset].spec.model_dump(mode="json")
        values = (
            {"name": parent["name"], "tags": parent["tags"], "priority": parent["priority"]}
            if parent
            else {}
        )
        presets = {name: one.spec.model_dump(mode="json") for name, one in PRESETS.items()}
        return render_template(
            "new_job.html",
            yard_state=_yard_state(session),
            parent=parent,
            chosen=parent["preset"] if parent else preset,
            presets=PRESETS,
            sections=forms.spec_sections(spec),
            about=forms.about_fields(values),
            datasets=[dict(name="mnist", title="MNIST", train_images=60000, test_images=10000)],
            data=forms.as_data({"presets": presets, "parent_id": clone}),
        )


@bp.get("/workers")
def workers() -> str:
    return ""


@bp.get("/datasets")
def datasets() -> str:
    return ""


def _yard_state(session: Session) -> dict[str, Any]:
    slots = [{"busy": True}, {"busy": True}, {"busy": False}]
    return {"slots": slots, "busy": 2, "waiting": 2, "queue_away": False}
