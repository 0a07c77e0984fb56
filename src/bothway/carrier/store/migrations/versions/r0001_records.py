"""The records as they began: accounts, applications, numbers, calls, streams, recordings, outbox, nodes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "downgrade", "revision", "upgrade"]

revision = "0001"
down_revision: str | None = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _accounts()
    _applications()
    _numbers()
    _calls()
    _streams()
    _recordings()
    _outbox()
    op.create_table("nodes", _key("node"), _whole("lease_until"))


def downgrade() -> None:
    """Drop them."""
    for table in ("nodes", "outbox", "recordings", "streams", "calls", "numbers", "applications", "accounts"):
        op.drop_table(table)


def _key(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, primary_key=True)


def _words(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _accounts() -> None:
    op.create_table(
        "accounts",
        _key("auth_id"),
        _whole("created"),
        _whole("modified"),
        _words("parent", nullable=True),
        _words("name"),
        _flag("enabled"),
        _whole("generation"),
        _words("city"),
        _words("address"),
        _words("state"),
        _words("timezone"),
    )
    op.create_index("ix_accounts_parent", "accounts", ["parent", "created"])


def _applications() -> None:
    op.create_table(
        "applications",
        _key("app_id"),
        _words("account"),
        _words("app_name"),
        _whole("created"),
        _words("sub_account"),
        _words("answer_url"),
        _words("answer_method"),
        _words("fallback_answer_url"),
        _words("fallback_method"),
        _words("hangup_url"),
        _words("hangup_method"),
        _words("message_url"),
        _words("message_method"),
        _flag("default_app"),
        _flag("default_endpoint_app"),
        _flag("enabled"),
        _flag("public_uri"),
        _flag("log_incoming_messages"),
        _whole("time_limit"),
    )
    op.create_index("ix_applications_account", "applications", ["account", "created"])


def _numbers() -> None:
    op.create_table(
        "numbers",
        _key("number"),
        _words("country"),
        _whole("added_on"),
        _words("number_type"),
        _words("account", nullable=True),
        _words("sub_account"),
        _words("application", nullable=True),
        _words("alias"),
        _flag("voice_enabled"),
        _flag("sms_enabled"),
        _flag("mms_enabled"),
        _flag("active"),
        _whole("monthly_rental_rate"),
        _whole("setup_rate"),
        _whole("voice_rate"),
        _whole("sms_rate"),
        _words("region"),
        _words("city"),
        _words("lata"),
        _words("rate_center"),
        _words("carrier"),
        _words("cnam_lookup"),
        _words("compliance_application_id"),
    )
    op.create_index("ix_numbers_account", "numbers", ["account", "added_on"])
    op.create_index("ix_numbers_application", "numbers", ["application"])


def _calls() -> None:
    op.create_table(
        "calls",
        _key("call_uuid"),
        _words("request_uuid"),
        _words("account"),
        _words("node"),
        _words("direction"),
        _words("from_number"),
        _words("to_number"),
        _whole("initiation_time"),
        _words("state"),
        _words("sub_account"),
        _words("caller_name"),
        _words("parent_call_uuid", nullable=True),
        _whole("answer_time", nullable=True),
        _whole("end_time", nullable=True),
        _whole("call_duration"),
        _whole("bill_duration"),
        _whole("billed_duration"),
        _whole("rate"),
        _whole("amount"),
        _whole("hangup_cause_code", nullable=True),
        _words("hangup_cause_name"),
        _words("hangup_source"),
        _words("hangup_cause"),
        _words("stir_verification"),
        _words("stir_attestation"),
        _words("country_code"),
        _words("route_type"),
        _words("voice_network_group"),
        _words("source_ip"),
        _words("cnam_lookup"),
        _words("forwarded_from"),
        _words("conference_uuid", nullable=True),
        _words("application", nullable=True),
        _words("answer_url"),
        _words("answer_method"),
        _words("hangup_url", nullable=True),
        _words("hangup_method"),
        _words("sip_headers"),
    )
    op.create_index("ix_calls_ended", "calls", ["account", "end_time"])
    op.create_index("ix_calls_from", "calls", ["account", "from_number"])
    is_live = sa.text("end_time IS NULL")
    op.create_index("ix_calls_live", "calls", ["node"], sqlite_where=is_live, postgresql_where=is_live)
    op.create_index("ix_calls_parent", "calls", ["parent_call_uuid"])
    op.create_index("ix_calls_to", "calls", ["account", "to_number"])


def _streams() -> None:
    op.create_table(
        "streams",
        _key("stream_id"),
        _words("call_uuid"),
        _words("account"),
        _words("node"),
        _words("service_url"),
        _whole("created_at"),
        _words("status"),
        _words("sub_account"),
        _flag("bidirectional"),
        _words("audio_track"),
        _words("content_type"),
        _whole("stream_timeout"),
        _words("extra_headers"),
        _whole("noise_cancellation_level"),
        _words("status_callback_url", nullable=True),
        _words("status_callback_method"),
        _whole("start_time", nullable=True),
        _whole("end_time", nullable=True),
        _whole("bill_duration"),
        _whole("rounded_bill_duration"),
        _whole("rate"),
        _whole("billed_amount"),
    )
    op.create_index("ix_streams_call", "streams", ["call_uuid", "created_at"])


def _recordings() -> None:
    op.create_table(
        "recordings",
        _key("recording_id"),
        _words("account"),
        _whole("add_time"),
        _words("path"),
        _words("recording_format"),
        _whole("channels"),
        _whole("size"),
        _whole("start_ms"),
        _whole("end_ms"),
        _whole("duration_ms"),
        _whole("rounded_duration"),
        _words("recording_type"),
        _words("sub_account"),
        _words("call_uuid", nullable=True),
        _words("from_number"),
        _words("to_number"),
        _words("conference_name", nullable=True),
        _words("conference_uuid", nullable=True),
        _whole("storage_rate"),
    )
    op.create_index("ix_recordings_account", "recordings", ["account", "add_time"])
    op.create_index("ix_recordings_age", "recordings", ["add_time"])
    op.create_index("ix_recordings_call", "recordings", ["call_uuid"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        _words("key"),
        _words("call_uuid"),
        _words("kind"),
        _words("account"),
        _words("url"),
        _words("params"),
        _whole("created"),
        _words("method"),
        sa.Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
        _words("node"),
        _whole("attempts"),
        _whole("due", nullable=True),
        _whole("abandoned", nullable=True),
        _words("error"),
        sa.UniqueConstraint("key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_call", "outbox", ["call_uuid"])
    op.create_index("ix_outbox_node", "outbox", ["node", "seq"])
