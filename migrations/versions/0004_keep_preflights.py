"""Keep pre-flights: what people ask of a spec before they queue it, and the answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "preflights",
        sa.Column("id", _ID, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("queue", sa.String(length=63), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=True),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME, nullable=True),
        sa.Column("worker", sa.String(length=63), nullable=True),
        sa.Column("token", sa.String(length=64), nullable=True),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("progress", _JSON, nullable=True),
        sa.Column("report", _JSON, nullable=True),
        sa.Column("failure", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_preflights"),
    )
    op.create_index("ix_preflights_status", "preflights", ["status"])


def downgrade() -> None:
    """Revert the revision; questions and answers are forgotten."""
    op.drop_table("preflights")
