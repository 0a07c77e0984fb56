"""Idempotency keys, and the calls of a sub-account found by an index of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0002"
down_revision: str | None = "0001"

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table and the indexes."""
    op.create_table(
        "idempotency",
        sa.Column("key_hash", _TEXT, primary_key=True),
        sa.Column("request_hash", _TEXT, nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_idempotency_expires", "idempotency", ["expires"])
    op.create_index("ix_calls_sub_account", "calls", ["sub_account", "end_time"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_calls_sub_account", "calls")
    op.drop_table("idempotency")
