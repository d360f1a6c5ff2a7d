"""Who works, and what the farm knows of itself."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
)

from farm.storage.columns import AnyText, UtcDateTime
from farm.storage.tables.columns_of_all import metadata

workers = Table(
    "workers",
    metadata,
    Column("id", AnyText, primary_key=True),
    # Stays the same when it is started again: the host, and its device there.
    Column("name", AnyText, nullable=False, server_default="", index=True),
    Column("host", AnyText, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", AnyText, nullable=False),
    Column("device_uuid", ForeignKey("devices.uuid"), nullable=False, index=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    # Told to stop: it finishes what it does.
    Column("leaving_at", UtcDateTime),
    Column("stopped_at", UtcDateTime),
    # Found dead by another worker of its host.
    Column("died_at", UtcDateTime),
)

worker_targets = Table(
    "worker_targets",
    metadata,
    Column("worker_id", ForeignKey("workers.id"), primary_key=True),
    Column("device_type_id", ForeignKey("device_types.id"), primary_key=True, index=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), primary_key=True, index=True),
)

#: Workers that are told to finish what they do and take nothing new, by name: a restart changes nothing.
worker_drains = Table(
    "worker_drains",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("reason", AnyText, nullable=False),
    Column("requested_by", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

#: Duties that one process of the farm does for all, such as sweeping, each for as long as its lease holds.
duties = Table(
    "duties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("holder", AnyText, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
)

#: What every user has had of the fleet: seconds of devices, halved every so often (farm.domain.fairness).
user_usage = Table(
    "user_usage",
    metadata,
    Column("user_name", AnyText, primary_key=True),
    Column("device_s", Float, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

#: Public keys whose signatures on engines count.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("public_key", AnyText, nullable=False),
    Column("note", AnyText, nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

#: One row: the oldest release's schema whose code still works on this one.
schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("oldest", String(32), primary_key=True),
)
