"""Pause jobs, move them in the queue, drain workers, and name who asked for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply the revision."""
    op.add_column("jobs", sa.Column("pause_requested_at", _TIME))
    op.add_column("jobs", sa.Column("queue_rank", sa.Double, nullable=False, server_default="0"))
    op.execute("UPDATE jobs SET queue_rank = id")
    op.add_column("job_events", sa.Column("actor", sa.String(100)))
    op.add_column("workers", sa.Column("drain_requested_at", _TIME))
    op.add_column("workers", sa.Column("drain_reason", sa.String(200)))
    _replace_claim_index("queue_rank", "id")


def downgrade() -> None:
    """Revert the revision; what is paused waits again."""
    op.execute("UPDATE jobs SET status = 'queued' WHERE status = 'paused'")
    op.execute("UPDATE attempts SET outcome = 'preempted' WHERE outcome = 'paused'")
    _replace_claim_index("id")
    op.drop_column("workers", "drain_reason")
    op.drop_column("workers", "drain_requested_at")
    op.drop_column("job_events", "actor")
    op.drop_column("jobs", "queue_rank")
    op.drop_column("jobs", "pause_requested_at")


def _replace_claim_index(*last: str) -> None:
    op.drop_index("ix_jobs_claim", "jobs")
    op.create_index("ix_jobs_claim", "jobs", ["status", "queue", sa.text("priority DESC"), *last])
