"""Import data sets: the imports, and what a survey of a version found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply the revision."""
    op.add_column("dataset_versions", sa.Column("report", _JSON, nullable=True))
    op.create_table(
        "imports",
        sa.Column("id", _ID, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("request", _JSON, nullable=False),
        sa.Column("files", _JSON, nullable=False),
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
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.create_index("ix_imports_status", "imports", ["status"])
    op.create_index("ix_imports_name", "imports", ["name"])


def downgrade() -> None:
    """Revert the revision; versions stay, but for what was found in them."""
    op.drop_table("imports")
    op.drop_column("dataset_versions", "report")
